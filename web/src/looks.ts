/** Looks and their blends: a handful of numbers a category, linear in them (perse.avatar.codes.Codes.mix). */

export interface Worn {
  readonly coefficients: readonly number[];
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
  const coefficients = a.coefficients.map((value, k) => here * value + there * b.coefficients[k]);
  return { coefficients, presence };
}
