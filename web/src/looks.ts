/** Looks and their blends: a handful of numbers a category, linear in them (perse.avatar.codes.Codes.mix). */

export interface Worn {
  /** Of a layer's directions. */
  readonly coefficients: readonly number[];
  /** Of length one at every learned look, shorter between two; empty where nothing is added between looks. */
  readonly code: readonly number[];
  /** How much of each look that was learned from another photo. */
  readonly transfers: readonly number[];
  /** 1: the part is there, 0: it is not; in between while it fades. */
  readonly presence: number;
}

export interface Option extends Worn {
  readonly label: string;
  readonly kind: "photo" | "none" | "look";
}

/** `a` at weight 0, `b` at 1. A part that only one side has keeps that side's numbers and merely fades. */
export function mix(a: Worn, b: Worn, weight: number): Worn {
  let here = 1 - weight;
  let there = weight;
  const presence = here * a.presence + there * b.presence;
  if (a.presence !== b.presence && presence > 0) {
    there = (there * b.presence) / presence;
    here = 1 - there;
  }
  const blend = (x: readonly number[], y: readonly number[]): number[] => x.map((value, k) => here * value + there * y[k]);
  return {
    coefficients: blend(a.coefficients, b.coefficients),
    code: blend(a.code, b.code),
    transfers: blend(a.transfers, b.transfers),
    presence,
  };
}
