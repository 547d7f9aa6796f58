/** What the face does: psi and theta, the motion of the joints, and the coefficients of the columns. */

import type { Header } from "./avatar";
import type { Container } from "./container";

export const EXPR = 50;
export const POSE = 15;
const JOINTS = 5;
const PARENTS = [-1, 0, 1, 1, 1];
const NECK = 1;
const INPUTS = EXPR + 9 * (JOINTS - 1);

export interface Acting {
  /** psi [50] */
  expr: Float32Array;
  /** theta [15]: root, neck, jaw, left eye, right eye, axis-angle. */
  pose: Float32Array;
}

/** What one frame asks of every point. */
export interface Frame {
  /** [rank] factors of the columns. */
  columns: Float32Array;
  /** [5 * 12] rows of the 3 x 4 matrices of the joints. */
  joints: Float32Array;
  /** [5 * 4] their rotations, wxyz, all on the neck's side. */
  quats: Float32Array;
}

/** Turns psi and theta into a frame (perse.head.pose_transforms). */
export class Skeleton {
  private readonly mix: Float32Array;
  private readonly rest: Float64Array;
  private readonly rank: number;

  constructor(container: Container<Header>) {
    this.mix = container.floats("mix");
    this.rank = container.header.columns.rank;
    this.rest = Float64Array.from(container.header.joints);
  }

  frame(acting: Acting): Frame {
    const rotations: number[][] = [];
    const turns: number[][] = [];
    const places: number[][] = [];
    const inputs = new Float64Array(INPUTS);
    inputs.set(acting.expr);
    const joints = new Float32Array(12 * JOINTS);
    const quats = new Float32Array(4 * JOINTS);
    for (let j = 0; j < JOINTS; j++) {
      const axis = [...acting.pose.subarray(3 * j, 3 * j + 3)];
      const local = rotation(axis);
      const turn = quaternion(axis);
      const own = [...this.rest.subarray(3 * j, 3 * j + 3)];
      const parent = PARENTS[j];
      if (parent < 0) {
        rotations.push(local);
        turns.push(turn);
        places.push(own);
      } else {
        const bone = own.map((value, k) => value - this.rest[3 * parent + k]);
        rotations.push(multiply(rotations[parent], local));
        turns.push(hamilton(turns[parent], turn));
        const moved = apply(rotations[parent], bone);
        places.push(places[parent].map((value, k) => value + moved[k]));
      }
      if (j > 0) for (let k = 0; k < 9; k++) inputs[EXPR + 9 * (j - 1) + k] = local[k] - (k % 4 === 0 ? 1 : 0);
      const back = apply(rotations[j], own);
      for (let r = 0; r < 3; r++) {
        for (let c = 0; c < 3; c++) joints[12 * j + 4 * r + c] = rotations[j][3 * r + c];
        joints[12 * j + 4 * r + 3] = places[j][r] - back[r];
      }
    }
    for (let j = 0; j < JOINTS; j++) {
      const agreement = turns[j].reduce((sum, value, k) => sum + value * turns[NECK][k], 0);
      for (let k = 0; k < 4; k++) quats[4 * j + k] = agreement < 0 ? -turns[j][k] : turns[j][k];
    }
    const columns = new Float32Array(this.rank);
    for (let r = 0; r < this.rank; r++) {
      let sum = 0;
      for (let k = 0; k < INPUTS; k++) sum += this.mix[r * INPUTS + k] * inputs[k];
      columns[r] = sum;
    }
    return { columns, joints, quats };
  }
}

/** A stretch of motion that repeats without a seam. */
export class Idle {
  private readonly rows: Float32Array;
  private readonly count: number;

  constructor(
    container: Container<Header>,
    private readonly fps = container.header.idle.fps,
  ) {
    this.rows = container.columns("idle");
    this.count = this.rows.length / (EXPR + POSE);
  }

  /** The face at a time in seconds, between frames where it falls between. */
  at(seconds: number): Acting {
    const place = (seconds * this.fps) % this.count;
    const here = Math.floor(place);
    const next = (here + 1) % this.count;
    const share = place - here;
    const value = (column: number): number =>
      (1 - share) * this.rows[column * this.count + here] + share * this.rows[column * this.count + next];
    const row = Float32Array.from({ length: EXPR + POSE }, (_, column) => value(column));
    return { expr: row.subarray(0, EXPR), pose: row.subarray(EXPR) };
  }
}

/** Row by row. */
function rotation([x, y, z]: number[]): number[] {
  const square = x * x + y * y + z * z;
  const small = square < 1e-6;
  const angle = Math.sqrt(square);
  const first = small ? 1 - square / 6 : Math.sin(angle) / angle;
  const second = small ? 0.5 - square / 24 : (1 - Math.cos(angle)) / square;
  const cross = [0, -z, y, z, 0, -x, -y, x, 0];
  const twice = multiply(cross, cross);
  return cross.map((value, k) => (k % 4 === 0 ? 1 : 0) + first * value + second * twice[k]);
}

function quaternion(axis: number[]): number[] {
  const square = axis.reduce((sum, value) => sum + value * value, 0);
  const angle = Math.sqrt(square);
  const ratio = square < 1e-6 ? 0.5 - square / 48 : Math.sin(angle / 2) / angle;
  return [square < 1e-6 ? 1 - square / 8 : Math.cos(angle / 2), ...axis.map((value) => ratio * value)];
}

function multiply(a: number[], b: number[]): number[] {
  return a.map((_, k) => {
    const row = 3 * Math.floor(k / 3);
    const column = k % 3;
    return a[row] * b[column] + a[row + 1] * b[3 + column] + a[row + 2] * b[6 + column];
  });
}

function apply(m: number[], v: number[]): number[] {
  return [0, 1, 2].map((r) => m[3 * r] * v[0] + m[3 * r + 1] * v[1] + m[3 * r + 2] * v[2]);
}

function hamilton([aw, ax, ay, az]: number[], [bw, bx, by, bz]: number[]): number[] {
  return [
    aw * bw - ax * bx - ay * by - az * bz,
    aw * bx + ax * bw + ay * bz - az * by,
    aw * by - ax * bz + ay * bw + az * bx,
    aw * bz + ax * by - ay * bx + az * bw,
  ];
}
