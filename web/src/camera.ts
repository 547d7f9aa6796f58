/** An OpenCV camera that orbits the head, starting where the portrait was taken from. */

import type { Header } from "./avatar";

export interface View {
  /** [16] world to camera, row by row. */
  viewmat: number[];
  /** Focal lengths and principal point in pixels. */
  focal: [number, number];
  center: [number, number];
}

export const LIMITS = { yaw: 1.9, pitch: 0.75, zoomOut: 0.55, zoomIn: 4 };

export class OrbitCamera {
  yaw = 0;
  pitch = 0;
  zoom = 1;
  private readonly start: number[];
  private readonly target: number[];

  constructor(
    private readonly camera: Header["camera"],
    middle: number[],
  ) {
    this.start = camera.viewmat.flat();
    this.target = middle;
  }

  orbit(yaw: number, pitch: number): void {
    this.yaw = clamp(this.yaw + yaw, -LIMITS.yaw, LIMITS.yaw);
    this.pitch = clamp(this.pitch + pitch, -LIMITS.pitch, LIMITS.pitch);
  }

  magnify(factor: number): void {
    this.zoom = clamp(this.zoom * factor, LIMITS.zoomOut, LIMITS.zoomIn);
  }

  /** The portrait's square fitted into a picture of this size. */
  view(width: number, height: number): View {
    const { K } = this.camera;
    const scale = this.scale(width, height);
    const [cy, sy, cp, sp] = [Math.cos(this.yaw), Math.sin(this.yaw), Math.cos(this.pitch), Math.sin(this.pitch)];
    // The world turns about the target: by yaw about the head's y axis, then by pitch about the camera's x axis.
    const around = [cy, 0, sy, 0, 1, 0, -sy, 0, cy];
    const start = [0, 1, 2].map((r) => [0, 1, 2].map((c) => this.start[4 * r + c])).flat();
    const tilt = [1, 0, 0, 0, cp, -sp, 0, sp, cp];
    const rotation = product(tilt, product(start, around));
    const seen = turn(start, this.target).map((value, r) => value + this.start[4 * r + 3]);
    const moved = turn(rotation, this.target);
    const viewmat = [0, 1, 2].flatMap((r) => [
      ...rotation.slice(3 * r, 3 * r + 3),
      seen[r] - moved[r],
    ]);
    const zoomed = scale * this.zoom;
    return {
      viewmat: [...viewmat, 0, 0, 0, 1],
      focal: [K[0][0] * zoomed, K[1][1] * zoomed],
      center: [
        width / 2 + (K[0][2] - this.camera.width / 2) * scale,
        height / 2 + (K[1][2] - this.camera.height / 2) * scale,
      ],
    };
  }

  /** The lower border of the portrait's square in such a picture, in pixels from above. */
  floor(width: number, height: number): number {
    return height / 2 + (this.camera.height / 2) * this.scale(width, height) * this.zoom;
  }

  private scale(width: number, height: number): number {
    return Math.min(width / this.camera.width, height / this.camera.height);
  }
}

export function clamp(value: number, low: number, high: number): number {
  return Math.min(high, Math.max(low, value));
}

function product(a: number[], b: number[]): number[] {
  return a.map((_, k) => {
    const row = 3 * Math.floor(k / 3);
    return a[row] * b[k % 3] + a[row + 1] * b[3 + (k % 3)] + a[row + 2] * b[6 + (k % 3)];
  });
}

function turn(m: number[], v: number[]): number[] {
  return [0, 1, 2].map((r) => m[3 * r] * v[0] + m[3 * r + 1] * v[1] + m[3 * r + 2] * v[2]);
}
