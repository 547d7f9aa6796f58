/** Points far to near, by counting their depths. */

const BUCKETS = 1 << 16;

export class Sorter {
  /** What the GPU wrote of every point: x, y, depth, opacity, as bits of float32. */
  readonly placed: Uint32Array<ArrayBuffer>;
  private readonly values: Float32Array;
  private readonly keys: Uint16Array;
  private readonly order: Uint32Array<ArrayBuffer>;
  private readonly counts = new Uint32Array(BUCKETS + 1);

  constructor(
    private readonly count: number,
    room: number,
  ) {
    this.placed = new Uint32Array(4 * room);
    this.values = new Float32Array(this.placed.buffer);
    this.keys = new Uint16Array(count);
    this.order = new Uint32Array(count);
  }

  /** Numbers of the points that are drawn, the farthest first; among equals the last first, as in perse.splat. */
  sort(): Uint32Array<ArrayBuffer> {
    const { values, keys, counts, count, order } = this;
    let near = Infinity;
    let far = -Infinity;
    let drawn = 0;
    for (let i = 0; i < count; i++) {
      if (values[4 * i + 3] <= 0) continue;
      const depth = values[4 * i + 2];
      near = Math.min(near, depth);
      far = Math.max(far, depth);
      drawn++;
    }
    const scale = far > near ? (BUCKETS - 1) / (far - near) : 0;
    counts.fill(0);
    for (let i = 0; i < count; i++) {
      if (values[4 * i + 3] <= 0) continue;
      const key = Math.floor((far - values[4 * i + 2]) * scale);
      keys[i] = key;
      counts[key + 1]++;
    }
    for (let k = 0; k < BUCKETS; k++) counts[k + 1] += counts[k];
    for (let i = count - 1; i >= 0; i--) {
      if (values[4 * i + 3] <= 0) continue;
      order[counts[keys[i]]++] = i;
    }
    return order.subarray(0, drawn);
  }
}

/** Two triangles a point, whose corners are numbered 4 * point + 0..3. Not instances: software draws those one by one. */
export function corners(points: Uint32Array, room: Uint32Array<ArrayBuffer>): Uint32Array<ArrayBuffer> {
  points.forEach((point, k) => {
    const first = 4 * point;
    const to = 6 * k;
    room[to] = first;
    room[to + 1] = room[to + 4] = first + 1;
    room[to + 2] = room[to + 3] = first + 2;
    room[to + 5] = first + 3;
  });
  return room.subarray(0, 6 * points.length);
}
