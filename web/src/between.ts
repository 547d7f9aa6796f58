/** What a layer adds between learned looks, and at none of them (perse.avatar.fields._between). */

import type { Container } from "./container";
import type { Worn } from "./looks";

export interface BetweenHeader {
  /** How near to one the squared length of a learned look's code is at least. */
  closed: number;
  /** Logarithm of the power of the presence by which opacity fades. */
  fade: number;
}

export class Between {
  /** Of every coefficient, column by column, as a layer's own directions. */
  readonly directions: Float32Array;
  private readonly hidden: Float32Array;
  private readonly bias: Float32Array;
  private readonly mix: Float32Array;

  constructor(container: Container<unknown>, layer: string, private readonly header: BetweenHeader) {
    this.directions = container.columns(`${layer}.between.directions`);
    this.hidden = container.floats(`${layer}.between.hidden`);
    this.bias = container.floats(`${layer}.between.bias`);
    this.mix = container.floats(`${layer}.between.mix`);
  }

  /** How far along every direction; the last is what the part does where it is only partly there. */
  coefficients({ code, presence }: Worn): number[] {
    const gate = 1 - this.header.closed - code.reduce((sum, value) => sum + value * value, 0);
    const width = this.bias.length;
    const found = new Array<number>(this.mix.length / width).fill(0);
    if (gate > 0) {
      this.bias.forEach((bias, h) => {
        const seen = code.reduce((sum, value, k) => sum + value * this.hidden[h * code.length + k], bias);
        const feature = gate * Math.tanh(seen);
        for (let k = 0; k < found.length; k++) found[k] += feature * this.mix[k * width + h];
      });
    }
    return [...found, 1 - presence];
  }

  /** The opacity's factor. */
  shown(presence: number): number {
    return presence ** Math.exp(this.header.fade);
  }
}
