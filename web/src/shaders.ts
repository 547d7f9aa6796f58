/** The three programs: pose every point once, draw the sorted points, lay the picture on its background. */

import type { Header } from "./avatar";
import { TEXTURE_WIDTH } from "./avatar";

/** The rules of perse.splat (src/perse/splat/_reference.py). */
const RULES = `
const float BLUR = 0.3, MIN_ALPHA = 1.0 / 255.0, MAX_ALPHA = 0.999, MAX_SIGMA = 3.33, NEAR = 0.01;
const float MIN_LOG_SCALE = -9.210340372, MAX_LOG_SCALE = -3.688879454;
`;
const HEAD = `#version 300 es
precision highp float; precision highp int; precision highp sampler2D; precision highp isampler2DArray;
precision highp usampler2D;
`;

export const FULL_SCREEN = `${HEAD}
void main() { gl_Position = vec4(vec2(gl_VertexID & 1, gl_VertexID >> 1) * 4.0 - 1.0, 0, 1); }`;

type Network = NonNullable<Header["network"]>;

/** How the weights lie in the uniform block: for every input its outputs, then the biases, padded to four. */
export function packNetwork(network: Network, flat: Float32Array): Float32Array {
  const out: number[] = [];
  let inputs = network.inputs;
  let at = 0;
  network.widths.forEach((width, layer) => {
    const padded = 4 * Math.ceil(width / 4);
    const rows = layer === 0 ? inputs : 4 * Math.ceil(inputs / 4);
    for (let i = 0; i <= rows; i++) {
      const row = i < rows ? i : inputs; // the last row holds the biases
      for (let o = 0; o < padded; o++) {
        const there = o < width && (i === rows || i < inputs);
        out.push(there ? flat[at + row * width + o] : 0);
      }
    }
    at += (inputs + 1) * width;
    inputs = width;
  });
  return Float32Array.from(out);
}

/** MLP_pose as a function of ten numbers: `changes(moved, bent, code)` in units of its bounds. */
function networkSource(network: Network): string {
  const { widths, inputs } = network;
  const quads = widths.map((width) => Math.ceil(width / 4));
  const code = inputs - 6;
  let at = 0;
  let body = `float x[${inputs}];
  for (int i = 0; i < 3; i++) { x[i] = moved[i]; x[3 + i] = bent[i]; }
  for (int i = 0; i < ${code}; i++) x[6 + i] = code[i];\n`;
  widths.forEach((_, layer) => {
    const outputs = quads[layer];
    const before = layer === 0 ? inputs : 4 * quads[layer - 1];
    body += `  vec4 h${layer}[${outputs}];
  for (int o = 0; o < ${outputs}; o++) h${layer}[o] = net[${at + before * outputs} + o];\n`;
    if (layer === 0) {
      body += `  for (int i = 0; i < ${inputs}; i++)
    for (int o = 0; o < ${outputs}; o++) h0[o] += net[${at} + i * ${outputs} + o] * x[i];\n`;
    } else {
      body += `  for (int i = 0; i < ${quads[layer - 1]}; i++) {
    vec4 v = max(h${layer - 1}[i], 0.0);
    for (int o = 0; o < ${outputs}; o++) {
      int w = ${at} + 4 * i * ${outputs} + o;
      h${layer}[o] += net[w] * v.x + net[w + ${outputs}] * v.y + net[w + ${2 * outputs}] * v.z + net[w + ${3 * outputs}] * v.w;
    }
  }\n`;
    }
    at += (before + 1) * outputs;
  });
  const last = widths.length - 1;
  return `layout(std140) uniform Network { vec4 net[${at}]; };
void network(vec3 moved, vec3 bent, vec4 code, out vec4 a, out vec4 b, out vec4 c) {
  ${body}
  a = h${last}[0]; b = h${last}[1]; c = h${last}[2];
}`;
}

/** Where blendshapes and joints bring a point. */
function bendSource({ columns: { rank } }: Header): string {
  return `
uniform isampler2DArray columns;
uniform vec3 mixture[${rank}];
uniform vec4 joints[15];
vec3 bend(ivec2 at, vec3 mean, vec4 w, float last, out vec3 bent) {
  bent = vec3(0);
  for (int c = 0; c < ${rank}; c++) bent += mixture[c] * vec3(texelFetch(columns, ivec3(at, c), 0).xyz);
  vec4 moved = vec4(mean + bent, 1);
  vec3 point;
  for (int r = 0; r < 3; r++)
    point[r] = dot(w.x * joints[r] + w.y * joints[3 + r] + w.z * joints[6 + r] + w.w * joints[9 + r]
                   + last * joints[12 + r], moved);
  return point;
}`;
}

/** One fragment a point: what MLP_pose changes. `resting`: its answer where nothing moves, which is taken off. */
export function detailSource(header: Header, network: Network): string {
  const bounds = network.bounds.map((value) => value.toFixed(6));
  return `${HEAD}
uniform sampler2D means, weights, codes;
uniform usampler2D still0, still1, still2;
uniform bool resting;
layout(location = 0) out uvec4 turn;    // quaternion
layout(location = 1) out uvec4 swell;   // log scales, opacity logit
layout(location = 2) out uvec4 tint;    // colour logits
${networkSource(network)}
${bendSource(header)}
void main() {
  ivec2 at = ivec2(gl_FragCoord.xy);
  vec3 moved = vec3(0), bent = vec3(0);
  if (!resting) {
    vec3 mean = texelFetch(means, at, 0).xyz;
    vec4 w = texelFetch(weights, at, 0);
    moved = bend(at, mean, w, 1.0 - w.x - w.y - w.z - w.w, bent) - mean;
  }
  vec4 a, b, c;
  network(moved, bent, texelFetch(codes, at, 0), a, b, c);
  if (!resting) {
    a = tanh(clamp(a - uintBitsToFloat(texelFetch(still0, at, 0)), -9.0, 9.0)) * vec4(${bounds.slice(0, 4).join()});
    b = tanh(clamp(b - uintBitsToFloat(texelFetch(still1, at, 0)), -9.0, 9.0)) * vec4(${bounds.slice(4, 8).join()});
    c = tanh(clamp(c - uintBitsToFloat(texelFetch(still2, at, 0)), -9.0, 9.0)) * vec4(${bounds.slice(8, 11).join()}, 0);
  }
  turn = floatBitsToUint(a); swell = floatBitsToUint(b); tint = floatBitsToUint(c);
}`;
}

/** One fragment a point: blendshapes, skinning, what MLP_pose changes, projection. */
export function poseSource(header: Header): string {
  return `${HEAD}${RULES}
uniform sampler2D means, quats, scales, colors, weights;
uniform usampler2D turn, swell, tint;
uniform vec4 jointQuats[5];
uniform mat4 viewmat;
uniform vec2 focal, center, size;
layout(location = 0) out uvec4 placed;  // x, y in pixels, depth, opacity
layout(location = 1) out uvec4 spread;  // covariance in the image xx, xy, yy
layout(location = 2) out uvec4 painted; // colour
${bendSource(header)}
vec4 hamilton(vec4 a, vec4 b) { // wxyz
  return vec4(a.x * b.x - dot(a.yzw, b.yzw), a.x * b.yzw + b.x * a.yzw + cross(a.yzw, b.yzw));
}
mat3 rotation(vec4 q) {
  float w = q.x, x = q.y, y = q.z, z = q.w;
  return mat3(1.0 - 2.0 * (y * y + z * z), 2.0 * (x * y + w * z), 2.0 * (x * z - w * y),
              2.0 * (x * y - w * z), 1.0 - 2.0 * (x * x + z * z), 2.0 * (y * z + w * x),
              2.0 * (x * z + w * y), 2.0 * (y * z - w * x), 1.0 - 2.0 * (x * x + y * y));
}
float logistic(float x) { return 1.0 / (1.0 + exp(-x)); }
void main() {
  ivec2 at = ivec2(gl_FragCoord.xy);
  placed = spread = painted = uvec4(0);
  vec4 scale = texelFetch(scales, at, 0);
  if (scale.w <= 0.0) return; // the part is not there
  vec4 mean = texelFetch(means, at, 0);
  vec4 quat = texelFetch(quats, at, 0);
  vec3 color = texelFetch(colors, at, 0).xyz;
  vec4 w = texelFetch(weights, at, 0);
  float last = 1.0 - w.x - w.y - w.z - w.w;
  vec3 bent;
  vec3 point = bend(at, mean.xyz, w, last, bent);
  vec4 turned = normalize(w.x * jointQuats[0] + w.y * jointQuats[1] + w.z * jointQuats[2] + w.w * jointQuats[3]
                          + last * jointQuats[4]);
  quat = hamilton(turned, quat);
  float opacity = mean.w;
  ${
    header.network
      ? `vec4 grown = uintBitsToFloat(texelFetch(swell, at, 0));
  quat = normalize(quat + uintBitsToFloat(texelFetch(turn, at, 0)));
  scale.xyz += grown.xyz; opacity += grown.w; color += uintBitsToFloat(texelFetch(tint, at, 0)).xyz;`
      : ""
  }
  float alpha = logistic(opacity) * scale.w;
  vec3 seen = (viewmat * vec4(point, 1)).xyz;
  if (alpha <= MIN_ALPHA || seen.z < NEAR) return;
  vec2 slope = seen.xy / seen.z;
  vec2 margin = 0.15 * size / focal;
  vec2 clamped = clamp(slope, -center / focal - margin, (size - center) / focal + margin);
  mat3 axes = mat3(viewmat) * rotation(quat);
  vec3 lengths = exp(clamp(scale.xyz, MIN_LOG_SCALE, MAX_LOG_SCALE));
  vec3 u, v;
  for (int k = 0; k < 3; k++) {
    vec3 axis = axes[k] * lengths[k];
    u[k] = focal.x / seen.z * (axis.x - clamped.x * axis.z);
    v[k] = focal.y / seen.z * (axis.y - clamped.y * axis.z);
  }
  placed = floatBitsToUint(vec4(slope * focal + center, seen.z, alpha));
  spread = floatBitsToUint(vec4(dot(u, u) + BLUR, dot(u, v), dot(v, v) + BLUR, 0));
  painted = floatBitsToUint(vec4(logistic(color.x), logistic(color.y), logistic(color.z), 0));
}`;
}

/** One quad a point, far to near, as large as the point is above 1 / 255. */
export const DRAW_VERTEX = `${HEAD}${RULES}
uniform usampler2D placed, spread, painted;
uniform vec2 size;
out vec2 away; flat out vec4 paint;
void main() {
  int point = gl_VertexID >> 2;
  ivec2 at = ivec2(point % ${TEXTURE_WIDTH}, point / ${TEXTURE_WIDTH});
  vec4 place = uintBitsToFloat(texelFetch(placed, at, 0));
  vec3 cov = uintBitsToFloat(texelFetch(spread, at, 0)).xyz;
  paint = vec4(uintBitsToFloat(texelFetch(painted, at, 0)).rgb, place.w);
  float reach = place.w > MIN_ALPHA ? min(sqrt(2.0 * log(place.w / MIN_ALPHA)), MAX_SIGMA) : 0.0;
  float middle = 0.5 * (cov.x + cov.z), apart = length(vec2(0.5 * (cov.x - cov.z), cov.y));
  float large = middle + apart, small = max((cov.x * cov.z - cov.y * cov.y) / large, 1e-6);
  vec2 axis = apart < 1e-7 * middle ? vec2(1, 0)
    : normalize(cov.x >= cov.z ? vec2(large - cov.z, cov.y) : vec2(cov.y, large - cov.x));
  away = (vec2(gl_VertexID & 1, (gl_VertexID >> 1) & 1) * 2.0 - 1.0) * reach;
  vec2 pixel = place.xy + away.x * sqrt(large) * axis + away.y * sqrt(small) * vec2(-axis.y, axis.x);
  gl_Position = vec4(2.0 * pixel.x / size.x - 1.0, 1.0 - 2.0 * pixel.y / size.y, 0, 1);
}`;

export const DRAW_FRAGMENT = `${HEAD}${RULES}
in vec2 away; flat in vec4 paint;
out vec4 result;
void main() {
  float alpha = min(paint.a * exp(-0.5 * dot(away, away)), MAX_ALPHA);
  if (alpha < MIN_ALPHA) discard;
  result = vec4(paint.rgb * alpha, alpha);
}`;

/** The person before a background that is lighter in the middle; below `fade` the bust is let go. */
export const RESOLVE = `${HEAD}
uniform sampler2D picture;
uniform vec2 size, fade;
uniform vec3 inner, outer;
out vec4 result;
void main() {
  vec2 at = gl_FragCoord.xy / size;
  vec4 person = texture(picture, at);
  person *= 1.0 - smoothstep(fade.x, fade.y, size.y - gl_FragCoord.y);
  float far = smoothstep(0.1, 0.95, length((at - vec2(0.5, 0.56)) * vec2(1.0, 0.9)) * 1.4);
  vec3 behind = mix(inner, outer, far);
  float noise = fract(52.9829189 * fract(dot(gl_FragCoord.xy, vec2(0.06711056, 0.00583715)))) - 0.5;
  behind += inner == outer ? 0.0 : noise / 255.0;
  result = vec4(person.rgb + (1.0 - person.a) * behind, 1);
}`;
