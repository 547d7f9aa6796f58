/** An avatar out of its container, and the values of its points for any blend of looks. */

import { Between, type BetweenHeader } from "./between";
import type { Container } from "./container";
import { type Option, type Worn } from "./looks";

export interface Header {
  title: string;
  camera: { viewmat: number[][]; K: number[][]; width: number; height: number };
  joints: number[];
  rest: { expr: number[]; pose: number[] };
  layers: { name: string; count: number; between?: BetweenHeader }[];
  looks: {
    categories: Record<string, { absentable: boolean; options: Option[] }>;
    actions: { category: string; byPresence: boolean }[];
    yields: { layer: string; other: string; low: number[]; high: number[]; cells: number[] }[];
    transfers: { category: string; number: number; press: string[]; own: string | null }[];
  };
  /** Number of the option that every category begins with, where it is not the first. */
  wears: Record<string, number>;
  face: { names: string[]; expr: number[][]; pose: number[][] };
  columns: { rank: number };
  network?: { inputs: number; widths: number[]; bounds: number[] };
  idle: { fps: number };
}

export type Outfit = Record<string, Worn>;

/** Values of a point: opacity logit, log scale (3), quaternion (4), colour logits (3), offset (3), weights (5). */
const VALUES = 19;
const OWN = 11;
const OFFSET = 11;
const WEIGHTS = 14;
export const TEXTURE_WIDTH = 256;

interface Layer {
  name: string;
  start: number;
  count: number;
  points: Float32Array;
  own: Float32Array;
  weights: Float32Array;
  directions: Float32Array | null;
  between: Between | null;
  /** The look from another photo whose own points these are. */
  transfer: Transfer | null;
  /** Shift of the opacity logit and offset by which these points gave way to other categories, column by column. */
  given: Float32Array;
}

interface Action {
  category: string;
  byPresence: boolean;
  index: Uint32Array;
  shift: Float32Array;
  directions: Float32Array;
}

/** What another category asks of a layer, by place: four numbers at the corners of a grid. */
interface Yield {
  layer: string;
  other: string;
  low: number[];
  high: number[];
  cells: number[];
  shift: Float32Array;
  directions: Float32Array;
}

/** What a look from another photo changes, times its weight (perse.avatar.adapters.PointAdapter). */
interface Transfer {
  category: string;
  /** Among those of its category. */
  number: number;
  /** Points of the layer that make room as its own points are to. */
  seat: Uint32Array;
  layer: Float32Array;
  index: Uint32Array;
  base: Float32Array;
  /** Shifts of other layers' opacity logits. */
  press: Record<string, Float32Array | undefined>;
  own: string | null;
}

/** What the renderer reads of every point, four numbers each, in rows of TEXTURE_WIDTH points. */
export interface PointTables {
  /** Position in metres, opacity logit. */
  means: Float32Array;
  /** Quaternion wxyz of unit length. */
  quats: Float32Array;
  /** Log scales, the opacity's factor. */
  scales: Float32Array;
  /** Colour logits. */
  colors: Float32Array;
  /** Skinning weights of the first four joints; the fifth is what is missing to one. */
  weights: Float32Array;
}

export class Avatar {
  readonly header: Header;
  readonly count: number;
  readonly rows: number;
  readonly tables: PointTables;
  private readonly layers: Layer[];
  private readonly actions: Action[];
  private readonly yields: Yield[];
  private readonly transfers: Transfer[];
  private worn: Outfit = {};

  constructor(readonly container: Container<Header>) {
    const header = (this.header = container.header);
    this.transfers = header.looks.transfers.map((transfer, k) => ({
      ...transfer,
      seat: container.indices(`transfer.${k}.seat`),
      layer: container.columns(`transfer.${k}.layer`),
      index: container.indices(`transfer.${k}.index`),
      base: container.columns(`transfer.${k}.base`),
      press: Object.fromEntries(transfer.press.map((name) => [name, container.columns(`transfer.${k}.press.${name}`)])),
    }));
    let start = 0;
    this.layers = header.layers.map(({ name, count, between }) => {
      const layer: Layer = {
        name,
        start,
        count,
        points: container.columns(`${name}.points`),
        own: container.columns(`${name}.own`),
        weights: container.columns(`${name}.weights`),
        directions: container.has(`${name}.directions`) ? container.columns(`${name}.directions`) : null,
        between: between ? new Between(container, name, between) : null,
        transfer: this.transfers.find(({ own }) => own === name) ?? null,
        given: new Float32Array(4 * count),
      };
      start += count;
      return layer;
    });
    this.actions = header.looks.actions.map((action, k) => ({
      ...action,
      index: container.indices(`action.${k}.index`),
      shift: container.columns(`action.${k}.shift`),
      directions: container.columns(`action.${k}.directions`),
    }));
    this.yields = header.looks.yields.map((pair, k) => ({
      ...pair,
      shift: container.columns(`yield.${k}.shift`),
      directions: container.columns(`yield.${k}.directions`),
    }));
    this.count = start;
    this.rows = Math.max(1, Math.ceil(this.count / TEXTURE_WIDTH));
    const table = (): Float32Array => new Float32Array(4 * TEXTURE_WIDTH * this.rows);
    this.tables = { means: table(), quats: table(), scales: table(), colors: table(), weights: table() };
  }

  /** Put a look on: rows [first, end) of the tables changed, or null where nothing did. */
  wear(outfit: Outfit): { first: number; end: number } | null {
    const changed = new Set<string>();
    for (const [category, worn] of Object.entries(outfit)) {
      const before = this.worn[category] as Worn | undefined;
      if (!before || !same(before, worn)) changed.add(category);
    }
    const stale = new Set(changed);
    if (!("base" in this.worn) || this.actions.some((a) => changed.has(a.category))) stale.add("base");
    for (const pair of this.yields) if (changed.has(pair.other)) stale.add(pair.layer);
    for (const { category, index, press, own } of this.transfers) {
      if (own !== null && stale.has(category)) stale.add(own);
      if (!changed.has(category)) continue;
      if (index.length) stale.add("base");
      for (const name of Object.keys(press)) stale.add(name);
    }
    this.worn = { ...outfit, base: { coefficients: [], code: [], transfers: [], presence: 1 } };
    let first = Infinity;
    let end = 0;
    for (const layer of this.layers) {
      if (!stale.has(layer.name)) continue;
      this.evaluate(layer);
      first = Math.min(first, Math.floor(layer.start / TEXTURE_WIDTH));
      end = Math.max(end, Math.ceil((layer.start + layer.count) / TEXTURE_WIDTH));
    }
    return end > 0 ? { first, end } : null;
  }

  private evaluate(layer: Layer): void {
    const { count, start, between } = layer;
    const { means, quats, scales, colors, weights } = this.tables;
    const worn = this.worn[layer.transfer?.category ?? layer.name];
    const weight = layer.transfer ? worn.transfers[layer.transfer.number] : 1;
    if (worn.presence * weight <= 0) {
      for (let i = start; i < start + count; i++) scales[4 * i + 3] = 0;
      return;
    }
    const values = new Float32Array(VALUES * count);
    values.set(layer.own.subarray(0, OWN * count));
    values.set(layer.weights, WEIGHTS * count);
    if (layer.directions) along(values, layer.directions, worn.coefficients, VALUES * count);
    if (between) along(values, between.directions, between.coefficients(worn), VALUES * count);
    const shown = weight * (between ? between.shown(worn.presence) : worn.presence);
    if (layer.name === "base") for (const action of this.actions) this.act(values, count, action);
    layer.given.fill(0);
    for (const pair of this.yields) if (pair.layer === layer.name) this.giveWay(values, layer, pair);
    for (const transfer of this.transfers) this.transferred(values, layer, transfer);
    if (layer.transfer) this.follow(values, layer, layer.transfer);
    for (let i = 0; i < count; i++) {
      const to = 4 * (start + i);
      const qw = values[4 * count + i];
      const qx = values[5 * count + i];
      const qy = values[6 * count + i];
      const qz = values[7 * count + i];
      const length = Math.hypot(qw, qx, qy, qz) || 1;
      quats[to] = qw / length;
      quats[to + 1] = qx / length;
      quats[to + 2] = qy / length;
      quats[to + 3] = qz / length;
      for (let c = 0; c < 3; c++) {
        means[to + c] = layer.points[c * count + i] + values[(OFFSET + c) * count + i];
        scales[to + c] = values[(1 + c) * count + i];
        colors[to + c] = values[(8 + c) * count + i];
      }
      let total = 0;
      for (let c = 0; c < 5; c++) total += values[(WEIGHTS + c) * count + i];
      total = Math.max(total, 0.1);
      for (let c = 0; c < 4; c++) weights[to + c] = values[(WEIGHTS + c) * count + i] / total;
      means[to + 3] = values[i];
      scales[to + 3] = shown;
    }
  }

  private act(values: Float32Array, count: number, action: Action): void {
    const { coefficients, presence } = this.worn[action.category];
    const factor = action.byPresence ? presence : 1;
    if (factor <= 0) return;
    const n = action.index.length;
    const change = action.shift.slice();
    along(change, action.directions, coefficients, VALUES * n);
    for (let c = 0; c < VALUES; c++)
      for (let i = 0; i < n; i++) values[c * count + action.index[i]] += factor * change[c * n + i];
  }

  private giveWay(values: Float32Array, layer: Layer, pair: Yield): void {
    const { coefficients, presence } = this.worn[pair.other];
    if (presence <= 0) return;
    const grid = pair.shift.slice();
    along(grid, pair.directions, coefficients, grid.length);
    const { count, points } = layer;
    const [nx, ny, nz] = pair.cells;
    const cells = nx * ny * nz;
    for (let i = 0; i < count; i++) {
      const [x, y, z] = [0, 1, 2].map((c) => {
        const place = points[c * count + i] + values[(OFFSET + c) * count + i];
        return ((place - pair.low[c]) / (pair.high[c] - pair.low[c])) * (pair.cells[c] - 1);
      });
      const [x0, y0, z0] = [Math.floor(x), Math.floor(y), Math.floor(z)];
      const asked = [0, 0, 0, 0];
      for (let corner = 0; corner < 8; corner++) {
        const [cx, cy, cz] = [x0 + (corner & 1), y0 + ((corner >> 1) & 1), z0 + (corner >> 2)];
        if (cx < 0 || cy < 0 || cz < 0 || cx >= nx || cy >= ny || cz >= nz) continue;
        const share = (1 - Math.abs(x - cx)) * (1 - Math.abs(y - cy)) * (1 - Math.abs(z - cz));
        const at = (cz * ny + cy) * nx + cx;
        for (let c = 0; c < 4; c++) asked[c] += share * grid[c * cells + at];
      }
      values[i] += presence * asked[0];
      for (let c = 0; c < 3; c++) values[(OFFSET + c) * count + i] += presence * asked[1 + c];
      for (let c = 0; c < 4; c++) layer.given[c * count + i] += presence * asked[c];
    }
  }

  /** A look from another photo changes its category's layer, points of the head, and what makes room for it. */
  private transferred(values: Float32Array, { name, count }: Layer, transfer: Transfer): void {
    const { presence, transfers } = this.worn[transfer.category];
    const weight = transfers[transfer.number];
    if (presence <= 0 || weight <= 0) return;
    const press = transfer.press[name];
    if (press) along(values, press, [weight], count);
    if (name === transfer.category) along(values, transfer.layer, [weight], transfer.layer.length);
    if (name !== "base") return;
    const n = transfer.index.length;
    for (let c = 0; c < VALUES; c++)
      for (let i = 0; i < n; i++) values[c * count + transfer.index[i]] += weight * transfer.base[c * n + i];
  }

  /** Its own points give way as the layer's points near them do. */
  private follow(values: Float32Array, { count }: Layer, { category, layer, seat }: Transfer): void {
    const near = this.layers.find(({ name }) => name === category);
    if (!near || !layer.length) return;
    for (let i = 0; i < count; i++) {
      values[i] += Math.min(0, near.given[seat[i]]);
      for (let c = 0; c < 3; c++) values[(OFFSET + c) * count + i] += near.given[(1 + c) * near.count + seat[i]];
    }
  }
}

/** values += coefficients @ directions, where a direction has `size` numbers. */
function along(values: Float32Array, directions: Float32Array, coefficients: readonly number[], size: number): void {
  coefficients.forEach((coefficient, k) => {
    if (coefficient === 0) return;
    const from = k * size;
    for (let i = 0; i < size; i++) values[i] += coefficient * directions[from + i];
  });
}

function same(a: Worn, b: Worn): boolean {
  const alike = (x: readonly number[], y: readonly number[]): boolean => x.every((value, k) => value === y[k]);
  return a.presence === b.presence && alike(a.coefficients, b.coefficients) && alike(a.code, b.code) &&
    alike(a.transfers, b.transfers);
}
