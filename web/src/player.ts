/** The state of the page: what is worn, what the face does, where the camera is; and the loop that draws it. */

import type { Avatar, Outfit } from "./avatar";
import { clamp, OrbitCamera } from "./camera";
import { mix, type Option, type Worn } from "./looks";
import { type Acting, EXPR, Idle, POSE, Skeleton } from "./motion";
import { type Backdrop, Renderer } from "./renderer";

export interface Blend {
  /** What it is blended from: a look, or what was shown when the next one was chosen. */
  from: Worn & { label: string };
  to: Option;
  /** 0: `from`, 1: `to`. */
  weight: number;
}

export interface Turn {
  yaw: number;
  pitch: number;
  roll: number;
}

const MORPH_SECONDS = 0.7;
const EASE_SECONDS = 0.25;
const NECK = 3;
const SLOW_MS = 45;
const FAST_MS = 18;
const SHARES = [1, 0.75, 0.5, 0.35];
/** Share of the points that MLP_pose is asked about in a frame, while frames are slow: the others keep its last answer. */
const DETAILS = 1 / 8;
const MAX_PIXEL_RATIO = 2;
const WHITE: Backdrop = { inner: [1, 1, 1], outer: [1, 1, 1], fade: [1e9, 2e9] };

export class Player {
  readonly blends: Record<string, Blend> = {};
  readonly units: Record<string, number> = {};
  readonly turn: Turn = { yaw: 0, pitch: 0, roll: 0 };
  readonly camera: OrbitCamera;
  /** Called when weights moved by themselves. */
  onMorph: (category: string) => void = () => undefined;
  /** Milliseconds of the last frames. */
  readonly times: number[] = [];
  /** Pictures drawn since the page was opened. */
  frames = 0;
  idle = true;
  private readonly renderer: Renderer;
  private readonly skeleton: Skeleton;
  private readonly motion: Idle;
  private readonly morphs = new Map<string, { start: number; from: number; to: number }>();
  private readonly eased: Acting = { expr: new Float32Array(EXPR), pose: new Float32Array(POSE) };
  private clock = 0;
  private before = 0;
  private idleShare = 0;
  private share = 0;
  private stale = true;
  private size: [number, number] = [0, 0];

  constructor(
    readonly avatar: Avatar,
    readonly canvas: HTMLCanvasElement,
  ) {
    this.camera = new OrbitCamera(avatar.header.camera, middle(avatar));
    for (const [category, { options }] of Object.entries(avatar.header.looks.categories)) {
      const number = avatar.header.wears[category] || 0;
      const other = number === 0 ? (options[1] ?? options[0]) : options[0];
      this.blends[category] = { from: options[number], to: other, weight: 0 };
    }
    avatar.wear(this.outfit());
    this.renderer = new Renderer(canvas, avatar);
    this.skeleton = new Skeleton(avatar.container);
    this.motion = new Idle(avatar.container);
  }

  // ---- what is asked ----------------------------------------------------------------------------------

  /** Blend towards a look, from what is shown now; at once where `seconds` is 0. */
  choose(category: string, option: Option, seconds = MORPH_SECONDS): void {
    const blend = this.blends[category];
    const label = blend.weight <= 0 ? blend.from.label : blend.weight >= 1 ? blend.to.label : "blend";
    this.blends[category] = { from: { ...mix(blend.from, blend.to, blend.weight), label }, to: option, weight: 0 };
    if (seconds > 0) this.morphs.set(category, { start: performance.now(), from: 0, to: 1 });
    else this.weigh(category, 1);
    this.touch();
  }

  /** Blend two looks exactly so. */
  blend(category: string, from: Option, to: Option, weight: number): void {
    this.blends[category] = { from, to, weight };
    this.morphs.delete(category);
    this.touch();
  }

  /** How far towards the second look. */
  weigh(category: string, weight: number): void {
    this.morphs.delete(category);
    this.blends[category].weight = clamp(weight, 0, 1);
    this.touch();
  }

  /** Stop or go on at once, without easing. */
  pause(paused: boolean): void {
    this.idle = !paused;
    this.idleShare = paused ? 0 : 1;
    this.touch();
  }

  /** Draw again. */
  touch(): void {
    this.stale = true;
  }

  // ---- drawing ----------------------------------------------------------------------------------------

  start(): void {
    const loop = (now: number): void => {
      requestAnimationFrame(loop);
      this.tick(now);
    };
    requestAnimationFrame(loop);
  }

  /** One picture of the state as it is, drawn to the last detail, on white: rows of RGBA from above. */
  picture(width: number, height: number): Uint8Array<ArrayBuffer> {
    const [oldWidth, oldHeight] = [this.canvas.width, this.canvas.height];
    this.dress();
    this.canvas.width = width;
    this.canvas.height = height;
    this.renderer.place(this.skeleton.frame(this.acting(this.posed())), this.camera.view(width, height), [width, height]);
    this.renderer.finish();
    this.renderer.show(WHITE);
    const pixels = this.renderer.pixels();
    this.canvas.width = oldWidth;
    this.canvas.height = oldHeight;
    this.touch();
    return pixels;
  }

  get visible(): number {
    return this.renderer.visible;
  }

  /** Who draws the points: the processor where the graphics driver is software. */
  get painter(): "gpu" | "cpu" {
    return this.renderer.software ? "cpu" : "gpu";
  }

  set painter(who: "gpu" | "cpu") {
    this.renderer.software = who === "cpu";
    this.touch();
  }

  private tick(now: number): void {
    const passed = Math.min(0.1, (now - this.before) / 1000);
    this.before = now;
    this.morph(now);
    this.idleShare = clamp(this.idleShare + (this.idle ? passed : -passed) / 0.6, 0, 1);
    if (this.idleShare > 0) this.clock += passed;
    const eased = this.ease(passed);
    const moving = eased || this.idleShare > 0 || this.morphs.size > 0;
    const started = performance.now();
    this.resize();
    const share = moving ? SHARES[this.share] : 1;
    const size: [number, number] = [
      Math.max(1, Math.round(this.canvas.width * share)),
      Math.max(1, Math.round(this.canvas.height * share)),
    ];
    const resized = size[0] !== this.size[0] || size[1] !== this.size[1];
    const changed = moving || this.stale || resized || !this.renderer.detailedAll;
    if (!changed && this.renderer.settled) return;
    if (changed) {
      this.dress();
      const details = this.renderer.software || this.share > 0 ? DETAILS : 1;
      this.renderer.place(this.skeleton.frame(this.acting(this.eased)), this.camera.view(...size), size, details);
      this.stale = false;
      this.size = size;
    }
    if (!this.renderer.poll() && !changed) return;
    this.frames++;
    const floor = this.camera.floor(this.canvas.width, this.canvas.height);
    this.renderer.show({
      inner: [0.985, 0.98, 0.972],
      outer: [0.885, 0.868, 0.848],
      fade: [floor * 0.86, floor * 0.995],
    });
    if (!moving) return;
    this.pace(now, performance.now() - started);
  }

  /** Coarser pictures while frames take long, finer ones while they are quick. */
  private pace(now: number, spent: number): void {
    const last = this.times.length ? this.times[this.times.length - 1] : now;
    this.times.push(now);
    if (this.times.length > 120) this.times.shift();
    const gap = Math.max(now - last, spent);
    if (gap > SLOW_MS && gap < 2000) this.share = Math.min(this.share + 1, SHARES.length - 1);
    else if (gap < FAST_MS && this.times.length % 60 === 0) this.share = Math.max(this.share - 1, 0);
  }

  private resize(): void {
    const ratio = Math.min(devicePixelRatio || 1, MAX_PIXEL_RATIO);
    const width = Math.max(1, Math.round(this.canvas.clientWidth * ratio));
    const height = Math.max(1, Math.round(this.canvas.clientHeight * ratio));
    if (this.canvas.width !== width || this.canvas.height !== height) {
      this.canvas.width = width;
      this.canvas.height = height;
    }
  }

  private dress(): void {
    const changed = this.avatar.wear(this.outfit());
    if (changed) this.renderer.update(changed);
  }

  private outfit(): Outfit {
    const outfit: Outfit = {};
    for (const [category, { from, to, weight }] of Object.entries(this.blends)) outfit[category] = mix(from, to, weight);
    return outfit;
  }

  private morph(now: number): void {
    for (const [category, { start, from, to }] of this.morphs) {
      const share = clamp((now - start) / (1000 * MORPH_SECONDS), 0, 1);
      this.blends[category].weight = from + (to - from) * share * share * (3 - 2 * share);
      if (share >= 1) this.morphs.delete(category);
      this.onMorph(category);
    }
  }

  /** Let the sliders' share of the face follow the sliders softly; whether it still moves. */
  private ease(passed: number): boolean {
    const asked = this.posed();
    const step = 1 - Math.exp(-passed / (EASE_SECONDS / 3));
    let far = 0;
    const towards = (shown: Float32Array, wanted: Float32Array): void => {
      for (let k = 0; k < shown.length; k++) {
        const gap = wanted[k] - shown[k];
        far = Math.max(far, Math.abs(gap));
        shown[k] += Math.abs(gap) < 1e-4 ? gap : gap * step;
      }
    };
    towards(this.eased.expr, asked.expr);
    towards(this.eased.pose, asked.pose);
    return far > 1e-4;
  }

  /** What the sliders add. */
  private posed(): Acting {
    const { face } = this.avatar.header;
    const expr = new Float32Array(EXPR);
    const pose = new Float32Array(POSE);
    face.names.forEach((name, row) => {
      const value = this.units[name] || 0;
      if (value === 0) return;
      for (let k = 0; k < EXPR; k++) expr[k] += value * face.expr[row][k];
      for (let k = 0; k < POSE; k++) pose[k] += value * face.pose[row][k];
    });
    pose[NECK] += this.turn.pitch;
    pose[NECK + 1] += this.turn.yaw;
    pose[NECK + 2] += this.turn.roll;
    return { expr, pose };
  }

  /** Rest or motion, and what the sliders add. */
  private acting(added: Acting): Acting {
    const { rest } = this.avatar.header;
    const now = this.motion.at(this.clock);
    const blend = (still: number, moving: number): number => still + this.idleShare * (moving - still);
    return {
      expr: added.expr.map((value, k) => value + blend(rest.expr[k], now.expr[k])),
      pose: added.pose.map((value, k) => value + blend(rest.pose[k], now.pose[k])),
    };
  }
}

/** Where the camera turns about: the middle of the head's own points, as deep as they are on average. */
function middle(avatar: Avatar): number[] {
  const [{ name, count }] = avatar.header.layers;
  const points = avatar.container.columns(`${name}.points`);
  return [0, 1, 2].map((axis) => {
    const values = points.slice(axis * count, (axis + 1) * count).sort();
    return (values[Math.floor(0.1 * count)] + values[Math.floor(0.9 * count)]) / 2;
  });
}
