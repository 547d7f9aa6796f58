/**
 * WebGL2: poses all points once a frame, sorts them by depth, blends them far to near in 16-bit floats. Where the driver
 * is software, the last step is done by the painter.
 */

import { type Avatar, TEXTURE_WIDTH } from "./avatar";
import type { View } from "./camera";
import { compile, pointTables, type Program, texture } from "./gl";
import type { Frame } from "./motion";
import { Painter } from "./painter";
import { detailSource, DRAW_FRAGMENT, DRAW_VERTEX, FULL_SCREEN, packNetwork, poseSource, RESOLVE } from "./shaders";
import { corners, Sorter } from "./sort";

export interface Backdrop {
  /** sRGB in [0, 1]. */
  inner: [number, number, number];
  outer: [number, number, number];
  /** Rows from above between which the bust fades out. */
  fade: [number, number];
}

const INPUTS = ["means", "quats", "scales", "colors", "weights", "codes"] as const;
const OUTPUTS = ["placed", "spread", "painted"] as const;
const DETAILS = ["turn", "swell", "tint"] as const;
const STILL = ["still0", "still1", "still2"] as const;
const COLUMNS_UNIT = INPUTS.length;
const DETAILS_UNIT = COLUMNS_UNIT + 1;
const SOFTWARE = /swiftshader|llvmpipe|softpipe|software|basic render/i;

export class Renderer {
  private readonly gl: WebGL2RenderingContext;
  /** Whether the processor draws the points. */
  software: boolean;
  private readonly detailProgram: Program | null;
  private readonly poseProgram: Program;
  private readonly drawProgram: Program;
  private readonly resolveProgram: Program;
  private readonly inputs: Record<string, WebGLTexture> = {};
  private readonly outputs: WebGLTexture[];
  private readonly posed: WebGLFramebuffer;
  private readonly details: WebGLTexture[];
  private readonly detailed: WebGLFramebuffer;
  private readonly still: WebGLTexture[];
  private readonly painter = new Painter();
  private readonly spread: Uint32Array;
  private readonly painting: Uint32Array;
  /** What MLP_pose was last asked about, how many rows still wait for its answer, and the next one. */
  private motion = new Float32Array(0);
  private waiting = 0;
  private row = 0;
  private readonly picture: WebGLTexture;
  private readonly painted: WebGLFramebuffer;
  private readonly empty: WebGLVertexArrayObject;
  private readonly quads: WebGLVertexArrayObject;
  private readonly order: WebGLBuffer;
  private readonly readback: WebGLBuffer;
  private readonly sorter: Sorter;
  private readonly corners: Uint32Array<ArrayBuffer>;
  private readonly steps: Float32Array;
  private readonly halves: boolean;
  private pictureSize: [number, number] = [0, 0];
  private pictureWanted: [number, number] = [1, 1];
  private fence: WebGLSync | null = null;
  /** Numbers of the current pose, of that whose depths were asked for, of that whose order is drawn. */
  private posedAs = 0;
  private asked = 0;
  private sorted = -1;
  private drawn = 0;
  /** Points in the GPU's list. */
  private listed = 0;

  constructor(
    private readonly canvas: HTMLCanvasElement,
    private readonly avatar: Avatar,
  ) {
    const gl = canvas.getContext("webgl2", { alpha: false, antialias: false, depth: false, powerPreference: "high-performance" });
    if (!gl) throw new Error("this browser has no WebGL2, which drawing needs");
    this.gl = gl;
    const renderable = gl.getExtension("EXT_color_buffer_float") ?? gl.getExtension("EXT_color_buffer_half_float");
    this.halves = renderable !== null;
    const named = gl.getExtension("WEBGL_debug_renderer_info")?.UNMASKED_RENDERER_WEBGL ?? gl.RENDERER;
    this.software = SOFTWARE.test(String(gl.getParameter(named)));
    const { header, rows, count } = avatar;
    this.detailProgram = header.network ? compile(gl, FULL_SCREEN, detailSource(header, header.network)) : null;
    this.poseProgram = compile(gl, FULL_SCREEN, poseSource(header));
    this.drawProgram = compile(gl, DRAW_VERTEX, DRAW_FRAGMENT);
    this.resolveProgram = compile(gl, FULL_SCREEN, RESOLVE);
    for (const name of INPUTS) this.inputs[name] = texture(gl);
    for (const name of ["means", "quats", "scales", "colors", "weights"] as const)
      this.upload(name, avatar.tables[name], 0, rows);
    this.upload("codes", codes(avatar), 0, rows);
    this.steps = this.uploadColumns();
    if (header.network) this.uploadNetwork();
    [this.posed, this.outputs] = pointTables(gl, rows);
    [this.detailed, this.details] = pointTables(gl, rows);
    this.picture = texture(gl);
    this.painted = gl.createFramebuffer();
    this.quads = gl.createVertexArray();
    this.order = gl.createBuffer();
    gl.bindVertexArray(this.quads);
    gl.bindBuffer(gl.ELEMENT_ARRAY_BUFFER, this.order);
    this.readback = gl.createBuffer();
    gl.bindBuffer(gl.PIXEL_PACK_BUFFER, this.readback);
    gl.bufferData(gl.PIXEL_PACK_BUFFER, 16 * TEXTURE_WIDTH * rows, gl.STREAM_READ);
    gl.bindBuffer(gl.PIXEL_PACK_BUFFER, null);
    this.sorter = new Sorter(count, TEXTURE_WIDTH * rows);
    this.corners = new Uint32Array(6 * count);
    this.spread = new Uint32Array(this.sorter.placed.length);
    this.painting = new Uint32Array(this.sorter.placed.length);
    for (const program of [this.detailProgram, this.poseProgram, this.drawProgram, this.resolveProgram])
      if (program) this.bindUnits(program);
    this.empty = gl.createVertexArray();
    this.still = this.rest(rows);
  }

  /** Points drawn in the last frame. */
  get visible(): number {
    return this.drawn;
  }

  /** Take over rows of the avatar's tables that a change of looks rewrote. */
  update(changed: { first: number; end: number }): void {
    for (const name of ["means", "quats", "scales", "colors", "weights"] as const)
      this.upload(name, this.avatar.tables[name], changed.first, changed.end);
    this.waiting = this.avatar.rows;
  }

  /** Whether points are drawn in the order of the pose they are in. */
  get settled(): boolean {
    return this.sorted === this.posedAs;
  }

  /** Place all points for a picture of this size. `details`: the share of them that MLP_pose is asked about anew. */
  place(frame: Frame, view: View, size: [number, number], details = 1): void {
    this.posedAs++;
    this.detail(frame, details);
    this.pose(frame, view, size);
    this.pictureWanted = size;
    if (!this.fence && !this.software) this.request();
  }

  /** Whether MLP_pose has answered for all points as they are. */
  get detailedAll(): boolean {
    return this.waiting === 0;
  }

  /** Sort if the GPU has told depths meanwhile; whether it has. */
  poll(): boolean {
    const { gl, fence } = this;
    if (!fence || gl.clientWaitSync(fence, 0, 0) === gl.TIMEOUT_EXPIRED) return false;
    this.collect();
    if (!this.settled) this.request();
    return true;
  }

  /** Wait for the GPU and sort. */
  finish(): void {
    if (this.software) return; // done when the points are drawn
    while (!this.settled) {
      if (!this.fence) this.request();
      this.collect();
    }
  }

  /** Draw the placed points into the canvas, far to near in the order known so far. */
  show(backdrop: Backdrop): void {
    this.paint(this.pictureWanted);
    this.resolve(backdrop);
  }

  /** The canvas as rows of RGBA from above. */
  pixels(): Uint8Array<ArrayBuffer> {
    const { gl, canvas } = this;
    const flipped = new Uint8Array(4 * canvas.width * canvas.height);
    gl.bindFramebuffer(gl.FRAMEBUFFER, null);
    gl.readPixels(0, 0, canvas.width, canvas.height, gl.RGBA, gl.UNSIGNED_BYTE, flipped);
    const out = new Uint8Array(flipped.length);
    const row = 4 * canvas.width;
    for (let y = 0; y < canvas.height; y++)
      out.set(flipped.subarray((canvas.height - 1 - y) * row, (canvas.height - y) * row), y * row);
    return out;
  }

  // ---- a frame ----------------------------------------------------------------------------------------

  /** Ask MLP_pose about rows of points: the longest waiting first. */
  private detail(frame: Frame, share: number): void {
    const { gl, avatar, detailProgram } = this;
    if (!detailProgram) return;
    const motion = Float32Array.from([...frame.columns, ...frame.joints]);
    if (this.motion.length !== motion.length || motion.some((value, k) => value !== this.motion[k])) {
      this.motion = motion;
      this.waiting = avatar.rows;
    }
    if (this.waiting === 0) return;
    const { at } = this.use(detailProgram);
    this.bendBy(detailProgram, frame);
    gl.uniform1i(at("resting"), 0);
    this.bind(INPUTS.map((name) => this.inputs[name]));
    this.bind(this.still, DETAILS_UNIT);
    const count = Math.min(this.waiting, Math.ceil(share * avatar.rows));
    const whole = Math.min(count, avatar.rows - this.row);
    this.run(this.detailed, this.row, whole);
    if (count > whole) this.run(this.detailed, 0, count - whole);
    this.row = (this.row + count) % avatar.rows;
    this.waiting -= count;
  }

  /** What MLP_pose says of every point where nothing moves. */
  private rest(rows: number): WebGLTexture[] {
    const { gl } = this;
    const [target, still] = pointTables(gl, rows);
    if (!this.detailProgram) return still;
    const { at } = this.use(this.detailProgram);
    gl.uniform1i(at("resting"), 1);
    this.bind(INPUTS.map((name) => this.inputs[name]));
    this.bind(this.details, DETAILS_UNIT);
    this.run(target, 0, rows);
    return still;
  }

  /** Run the program in use over rows of points. */
  private run(target: WebGLFramebuffer, first: number, count: number): void {
    const { gl } = this;
    gl.bindFramebuffer(gl.FRAMEBUFFER, target);
    gl.viewport(0, 0, TEXTURE_WIDTH, this.avatar.rows);
    gl.enable(gl.SCISSOR_TEST);
    gl.scissor(0, first, TEXTURE_WIDTH, count);
    gl.disable(gl.BLEND);
    gl.bindVertexArray(this.empty);
    gl.drawArrays(gl.TRIANGLES, 0, 3);
    gl.disable(gl.SCISSOR_TEST);
  }

  private bendBy({ at }: Program, frame: Frame): void {
    const { gl } = this;
    const mixture = new Float32Array(this.steps.length);
    for (let k = 0; k < mixture.length; k++) mixture[k] = this.steps[k] * frame.columns[Math.floor(k / 3)];
    gl.uniform3fv(at("mixture"), mixture);
    gl.uniform4fv(at("joints"), frame.joints);
  }

  private pose(frame: Frame, view: View, size: [number, number]): void {
    const { gl, avatar } = this;
    const { at } = this.use(this.poseProgram);
    this.bendBy(this.poseProgram, frame);
    gl.uniform4fv(at("jointQuats"), frame.quats);
    gl.uniformMatrix4fv(at("viewmat"), true, view.viewmat);
    gl.uniform2f(at("focal"), ...view.focal);
    gl.uniform2f(at("center"), ...view.center);
    gl.uniform2f(at("size"), ...size);
    this.bind(INPUTS.map((name) => this.inputs[name]));
    this.bind(this.details, DETAILS_UNIT);
    this.run(this.posed, 0, avatar.rows);
  }

  /** Ask the GPU for depths, without waiting. */
  private request(): void {
    const { gl } = this;
    this.asked = this.posedAs;
    gl.bindFramebuffer(gl.FRAMEBUFFER, this.posed);
    gl.readBuffer(gl.COLOR_ATTACHMENT0);
    gl.bindBuffer(gl.PIXEL_PACK_BUFFER, this.readback);
    gl.readPixels(0, 0, TEXTURE_WIDTH, this.avatar.rows, gl.RGBA_INTEGER, gl.UNSIGNED_INT, 0);
    gl.bindBuffer(gl.PIXEL_PACK_BUFFER, null);
    this.fence = gl.fenceSync(gl.SYNC_GPU_COMMANDS_COMPLETE, 0);
    gl.flush();
  }

  /** Fetch the depths asked for and sort by them. */
  private collect(): void {
    const { gl, sorter } = this;
    if (this.fence) gl.deleteSync(this.fence);
    this.fence = null;
    gl.bindBuffer(gl.PIXEL_PACK_BUFFER, this.readback);
    gl.getBufferSubData(gl.PIXEL_PACK_BUFFER, 0, sorter.placed);
    gl.bindBuffer(gl.PIXEL_PACK_BUFFER, null);
    const sorted = sorter.sort();
    this.sorted = this.asked;
    this.drawn = this.listed = sorted.length;
    gl.bindVertexArray(this.quads);
    gl.bufferData(gl.ELEMENT_ARRAY_BUFFER, corners(sorted, this.corners), gl.DYNAMIC_DRAW);
  }

  private paint(size: [number, number]): void {
    if (this.software) this.paintHere(size);
    else this.paintThere(size);
  }

  /** On the processor. */
  private paintHere(size: [number, number]): void {
    const { gl, sorter, spread, painting } = this;
    gl.bindFramebuffer(gl.FRAMEBUFFER, this.posed);
    [sorter.placed, spread, painting].forEach((table, k) => {
      gl.readBuffer(gl.COLOR_ATTACHMENT0 + k);
      gl.readPixels(0, 0, TEXTURE_WIDTH, this.avatar.rows, gl.RGBA_INTEGER, gl.UNSIGNED_INT, table);
    });
    const sorted = sorter.sort();
    this.sorted = this.posedAs;
    this.drawn = sorted.length;
    const [placed, spreads, painted] = [sorter.placed, spread, painting].map(({ buffer }) => new Float32Array(buffer));
    const rgba = this.painter.paint({ placed, spread: spreads, painted }, sorted, size);
    this.pictureSize = [0, 0];
    gl.activeTexture(gl.TEXTURE0);
    gl.bindTexture(gl.TEXTURE_2D, this.picture);
    gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGBA8, ...size, 0, gl.RGBA, gl.UNSIGNED_BYTE, rgba);
    gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_MIN_FILTER, gl.LINEAR);
    gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_MAG_FILTER, gl.LINEAR);
  }

  /** On the GPU. */
  private paintThere(size: [number, number]): void {
    const { gl } = this;
    this.resize(size);
    gl.bindFramebuffer(gl.FRAMEBUFFER, this.painted);
    gl.viewport(0, 0, ...size);
    gl.clearColor(0, 0, 0, 0);
    gl.clear(gl.COLOR_BUFFER_BIT);
    if (this.listed === 0) return;
    const { at } = this.use(this.drawProgram);
    gl.uniform2f(at("size"), ...size);
    this.bind(this.outputs);
    gl.enable(gl.BLEND);
    gl.blendFunc(gl.ONE, gl.ONE_MINUS_SRC_ALPHA);
    gl.bindVertexArray(this.quads);
    gl.drawElements(gl.TRIANGLES, 6 * this.listed, gl.UNSIGNED_INT, 0);
  }

  private resolve(backdrop: Backdrop): void {
    const { gl, canvas } = this;
    const { at } = this.use(this.resolveProgram);
    gl.uniform2f(at("size"), canvas.width, canvas.height);
    gl.uniform2f(at("fade"), ...backdrop.fade);
    gl.uniform3f(at("inner"), ...backdrop.inner);
    gl.uniform3f(at("outer"), ...backdrop.outer);
    this.bind([this.picture]);
    gl.bindFramebuffer(gl.FRAMEBUFFER, null);
    gl.viewport(0, 0, canvas.width, canvas.height);
    gl.disable(gl.BLEND);
    gl.bindVertexArray(this.empty);
    gl.drawArrays(gl.TRIANGLES, 0, 3);
  }

  // ---- setting up -------------------------------------------------------------------------------------

  private resize(size: [number, number]): void {
    const { gl } = this;
    if (this.pictureSize[0] === size[0] && this.pictureSize[1] === size[1]) return;
    this.pictureSize = [...size];
    gl.activeTexture(gl.TEXTURE0);
    gl.bindTexture(gl.TEXTURE_2D, this.picture);
    const [format, type] = this.halves ? [gl.RGBA16F, gl.HALF_FLOAT] : [gl.RGBA8, gl.UNSIGNED_BYTE];
    gl.texImage2D(gl.TEXTURE_2D, 0, format, ...size, 0, gl.RGBA, type, null);
    gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_MIN_FILTER, gl.LINEAR);
    gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_MAG_FILTER, gl.LINEAR);
    gl.bindFramebuffer(gl.FRAMEBUFFER, this.painted);
    gl.framebufferTexture2D(gl.FRAMEBUFFER, gl.COLOR_ATTACHMENT0, gl.TEXTURE_2D, this.picture, 0);
  }

  private upload(name: string, table: Float32Array, first: number, end: number): void {
    const { gl, avatar } = this;
    gl.activeTexture(gl.TEXTURE0);
    gl.bindTexture(gl.TEXTURE_2D, this.inputs[name]);
    if (first === 0 && end === avatar.rows) {
      gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGBA32F, TEXTURE_WIDTH, avatar.rows, 0, gl.RGBA, gl.FLOAT, table);
      return;
    }
    const part = table.subarray(4 * TEXTURE_WIDTH * first, 4 * TEXTURE_WIDTH * end);
    gl.texSubImage2D(gl.TEXTURE_2D, 0, 0, first, TEXTURE_WIDTH, end - first, gl.RGBA, gl.FLOAT, part);
  }

  /** Columns of E and P as layers of 16-bit integers; returns the rounding step of each number [rank * 3]. */
  private uploadColumns(): Float32Array {
    const { gl, avatar } = this;
    const { rows: count, words, steps } = avatar.container.words("columns");
    const rank = steps.length / 3;
    const stack = gl.createTexture();
    gl.activeTexture(gl.TEXTURE0 + COLUMNS_UNIT);
    gl.bindTexture(gl.TEXTURE_2D_ARRAY, stack);
    gl.texParameteri(gl.TEXTURE_2D_ARRAY, gl.TEXTURE_MIN_FILTER, gl.NEAREST);
    gl.texParameteri(gl.TEXTURE_2D_ARRAY, gl.TEXTURE_MAG_FILTER, gl.NEAREST);
    gl.texStorage3D(gl.TEXTURE_2D_ARRAY, 1, gl.RGBA16I, TEXTURE_WIDTH, avatar.rows, rank);
    const layer = new Int16Array(4 * TEXTURE_WIDTH * avatar.rows);
    for (let c = 0; c < rank; c++) {
      for (let axis = 0; axis < 3; axis++) {
        const from = (3 * c + axis) * count;
        for (let i = 0; i < count; i++) layer[4 * i + axis] = words[from + i];
      }
      gl.texSubImage3D(
        gl.TEXTURE_2D_ARRAY, 0, 0, 0, c, TEXTURE_WIDTH, avatar.rows, 1, gl.RGBA_INTEGER, gl.SHORT, layer,
      );
    }
    return Float32Array.from(steps);
  }

  private uploadNetwork(): void {
    const { gl, avatar } = this;
    const { network } = avatar.header;
    if (!network) return;
    const weights = packNetwork(network, avatar.container.floats("network"));
    const most = gl.getParameter(gl.MAX_UNIFORM_BLOCK_SIZE) as number;
    if (4 * weights.length > most)
      throw new Error("this graphics driver is too small for MLP_pose; export the page with --no-pose-detail");
    const buffer = gl.createBuffer();
    gl.bindBufferBase(gl.UNIFORM_BUFFER, 0, buffer);
    gl.bufferData(gl.UNIFORM_BUFFER, weights, gl.STATIC_DRAW);
    const program = this.detailProgram?.program;
    if (program) gl.uniformBlockBinding(program, gl.getUniformBlockIndex(program, "Network"), 0);
  }

  private bindUnits(program: Program): void {
    const { gl } = this;
    gl.useProgram(program.program);
    INPUTS.forEach((name, unit) => { gl.uniform1i(program.at(name), unit); });
    OUTPUTS.forEach((name, unit) => { gl.uniform1i(program.at(name), unit); });
    for (const names of [DETAILS, STILL])
      names.forEach((name, k) => { gl.uniform1i(program.at(name), DETAILS_UNIT + k); });
    gl.uniform1i(program.at("picture"), 0);
    gl.uniform1i(program.at("columns"), COLUMNS_UNIT);
  }

  private use(program: Program): Program {
    this.gl.useProgram(program.program);
    return program;
  }

  private bind(textures: WebGLTexture[], first = 0): void {
    const { gl } = this;
    textures.forEach((one, k) => {
      gl.activeTexture(gl.TEXTURE0 + first + k);
      gl.bindTexture(gl.TEXTURE_2D, one);
    });
  }
}

function codes(avatar: Avatar): Float32Array {
  const out = new Float32Array(4 * TEXTURE_WIDTH * avatar.rows);
  if (!avatar.container.has("codes")) return out;
  const values = avatar.container.columns("codes");
  for (let c = 0; c < values.length / avatar.count; c++)
    for (let i = 0; i < avatar.count; i++) out[4 * i + c] = values[c * avatar.count + i];
  return out;
}
