/**
 * Draws placed points on the processor, near to far, and stops where nothing behind can show: many times faster than a
 * graphics driver that is software itself. The rules are those of the draw program (shaders.ts).
 */

const MIN_ALPHA = 1 / 255;
const MAX_ALPHA = 0.999;
const MAX_SIGMA = 3.33;
/** Where less of the light than this comes through, nothing more is drawn. */
const FULL = 1e-3;
/** exp(-q / 2) in steps: q is at most MAX_SIGMA squared. */
const STEPS = 400;
const FALL = Float32Array.from({ length: Math.ceil(STEPS * MAX_SIGMA * MAX_SIGMA) + 2 }, (_, k) =>
  Math.exp((-0.5 * (k + 0.5)) / STEPS),
);

/** What the pose program says of every point, four numbers each. */
export interface Placed {
  /** x, y in pixels, depth, opacity. */
  placed: Float32Array;
  /** Covariance in the image xx, xy, yy. */
  spread: Float32Array;
  painted: Float32Array;
}

export class Painter {
  private left = new Float32Array(0);
  private light = new Float32Array(0);
  private rgba = new Uint8Array(0);

  /** Rows from below of RGBA, times alpha. `order`: numbers of the points, the farthest first. */
  paint({ placed, spread, painted }: Placed, order: Uint32Array, [width, height]: [number, number]): Uint8Array {
    this.clear(width * height);
    const { left, light, rgba } = this;
    for (let k = order.length - 1; k >= 0; k--) {
      const i = 4 * order[k];
      const [x, y, opacity] = [placed[i], placed[i + 1], placed[i + 3]];
      const reach = Math.min(2 * Math.log(opacity / MIN_ALPHA), MAX_SIGMA * MAX_SIGMA);
      if (!(reach > 0)) continue;
      const [xx, xy, yy] = [spread[i], spread[i + 1], spread[i + 2]];
      const [red, green, blue] = [painted[i], painted[i + 1], painted[i + 2]];
      const area = xx * yy - xy * xy;
      const [a, b, c] = [yy / area, -xy / area, xx / area];
      const high = Math.sqrt(reach * yy);
      const last = Math.min(height - 1, Math.floor(y + high - 0.5));
      for (let v = Math.max(0, Math.ceil(y - high - 0.5)); v <= last; v++) {
        const dy = v + 0.5 - y;
        const inside = b * b * dy * dy - a * (c * dy * dy - reach);
        if (inside < 0) continue;
        const middle = x - (b * dy) / a - 0.5;
        const half = Math.sqrt(inside) / a;
        const end = Math.min(width - 1, Math.floor(middle + half));
        const row = (height - 1 - v) * width;
        for (let u = Math.max(0, Math.ceil(middle - half)); u <= end; u++) {
          const at = row + u;
          const through = left[at];
          if (through < FULL) continue;
          const dx = u + 0.5 - x;
          const q = dx * (a * dx + 2 * b * dy) + c * dy * dy;
          const shown = through * Math.min(opacity * FALL[(STEPS * q) | 0], MAX_ALPHA);
          left[at] = through - shown;
          light[3 * at] += shown * red;
          light[3 * at + 1] += shown * green;
          light[3 * at + 2] += shown * blue;
        }
      }
    }
    for (let at = 0; at < width * height; at++) {
      rgba[4 * at] = 255 * light[3 * at] + 0.5;
      rgba[4 * at + 1] = 255 * light[3 * at + 1] + 0.5;
      rgba[4 * at + 2] = 255 * light[3 * at + 2] + 0.5;
      rgba[4 * at + 3] = 255 * (1 - left[at]) + 0.5;
    }
    return rgba;
  }

  private clear(pixels: number): void {
    if (this.left.length !== pixels) {
      this.left = new Float32Array(pixels);
      this.light = new Float32Array(3 * pixels);
      this.rgba = new Uint8Array(4 * pixels);
    }
    this.left.fill(1);
    this.light.fill(0);
  }
}
