/** The controls beside the picture. */

import { clamp } from "./camera";
import type { Option } from "./looks";
import type { Player } from "./player";

const ORDER = ["hair", "beard", "hat", "eyebrows", "clothes", "earrings", "headphones", "mouth", "nose"];
const GROUPS = ["mouth", "jaw", "eye", "brow", "cheek", "nose"];
const TURNS = [
  { key: "yaw", label: "turn", most: 40 },
  { key: "pitch", label: "nod", most: 25 },
  { key: "roll", label: "tilt", most: 25 },
] as const;
const EXPRESSIONS: Record<string, Record<string, number>> = {
  neutral: {},
  smile: { mouthSmileLeft: 0.75, mouthSmileRight: 0.75, cheekSquintLeft: 0.4, cheekSquintRight: 0.4 },
  laugh: {
    mouthSmileLeft: 0.8, mouthSmileRight: 0.8, jawOpen: 0.45, eyeSquintLeft: 0.5, eyeSquintRight: 0.5,
    cheekSquintLeft: 0.5, cheekSquintRight: 0.5,
  },
  surprise: { browInnerUp: 0.9, browOuterUpLeft: 0.8, browOuterUpRight: 0.8, eyeWideLeft: 0.8, eyeWideRight: 0.8, jawOpen: 0.4 },
  kiss: { mouthPucker: 0.9 },
  doubt: { browDownLeft: 0.7, browOuterUpRight: 0.8, mouthLeft: 0.4, mouthPressLeft: 0.4 },
  sad: { browInnerUp: 0.8, mouthFrownLeft: 0.7, mouthFrownRight: 0.7, mouthShrugLower: 0.3 },
  angry: { browDownLeft: 0.9, browDownRight: 0.9, noseSneerLeft: 0.5, noseSneerRight: 0.5, mouthPressLeft: 0.5, mouthPressRight: 0.5 },
  wink: { eyeBlinkLeft: 1, mouthSmileLeft: 0.6 },
};
const ICONS = {
  shuffle: "M3 7h4l10 10h4m0 0-3-3m3 3-3 3M3 17h4l3-3m4-4 3-3h4m0 0-3-3m3 3-3 3",
  play: "M7 5v14l12-7z",
  pause: "M8 5v14M16 5v14",
  reset: "M4 12a8 8 0 1 0 2.6-5.9M4 4v4.5h4.5",
};

type Child = Node | string;

function make<K extends keyof HTMLElementTagNameMap>(
  tag: K,
  properties: Record<string, string> = {},
  ...children: Child[]
): HTMLElementTagNameMap[K] {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

function icon(path: string): SVGSVGElement {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("viewBox", "0 0 24 24");
  svg.setAttribute("aria-hidden", "true");
  const line = document.createElementNS("http://www.w3.org/2000/svg", "path");
  line.setAttribute("d", path);
  svg.append(line);
  return svg;
}

function slider(label: string, low: number, high: number, value: number, input: (value: number) => void): HTMLInputElement {
  const range = make("input", {
    type: "range", min: `${low}`, max: `${high}`, step: "any", value: `${value}`, "aria-label": label,
  });
  const share = (of: number): number => (100 * (of - low)) / (high - low);
  const paint = (): void => {
    const [zero, at] = [share(0), share(Number(range.value))];
    range.style.setProperty("--low", `${Math.min(zero, at)}%`);
    range.style.setProperty("--high", `${Math.max(zero, at)}%`);
  };
  range.addEventListener("input", () => { paint(); input(Number(range.value)); });
  range.addEventListener("paint", paint);
  paint();
  return range;
}

function place(range: HTMLInputElement, value: number): void {
  range.value = `${value}`;
  range.dispatchEvent(new Event("paint"));
}

export class Panel {
  private readonly cards: Record<string, () => void> = {};
  private readonly ranges: { range: HTMLInputElement; read: () => number }[] = [];

  constructor(
    private readonly player: Player,
    stage: HTMLElement,
    panel: HTMLElement,
  ) {
    const looks = this.looks();
    const face = this.face();
    panel.append(this.tabs([["Looks", looks], ["Face", face]]), looks, face);
    stage.append(this.tools());
    player.onMorph = (category) => { this.cards[category](); };
  }

  // ---- looks ------------------------------------------------------------------------------------------

  private looks(): HTMLElement {
    const { categories } = this.player.avatar.header.looks;
    const section = make("section", { id: "looks", role: "tabpanel", "aria-label": "Looks" });
    for (const category of ORDER) if (category in categories && categories[category].options.length > 1) section.append(this.card(category));
    if (!section.childElementCount) section.append(make("p", { class: "hint" }, "This avatar has one look."));
    return section;
  }

  private card(category: string): HTMLElement {
    const { player } = this;
    const { options } = player.avatar.header.looks.categories[category];
    const now = make("output", { class: "now" });
    const chips = options.map((option, number) => this.chip(category, option, number));
    const left = make("span", { class: "end" });
    const right = make("span", { class: "end" });
    const range = slider(`blend ${category}`, 0, 1, 0, (weight) => { player.weigh(category, weight); show(); });
    const show = (): void => {
      const { from, to, weight } = player.blends[category];
      place(range, weight);
      left.textContent = from.label;
      right.textContent = to.label;
      now.textContent = weight <= 0.005 ? from.label : weight >= 0.995 ? to.label : `${Math.round(100 * weight)} %`;
      options.forEach((option, number) => {
        const near = (option === to ? weight : 0) + (option.label === from.label ? 1 - weight : 0);
        chips[number].style.setProperty("--near", `${near}`);
        chips[number].setAttribute("aria-pressed", `${near > 0.5}`);
      });
    };
    this.cards[category] = show;
    show();
    const strip = make("div", { class: "strip", role: "group", "aria-label": `looks of ${category}` }, ...chips);
    return make(
      "article", { class: "card", "data-category": category },
      make("header", {}, make("h2", {}, category), now), strip,
      make("div", { class: "blend" }, left, range, right),
    );
  }

  private chip(category: string, option: Option, number: number): HTMLButtonElement {
    const { player } = this;
    const chip = make("button", { class: `chip ${option.kind}`, type: "button", title: option.label });
    const name = `picture.${category}.${number}`;
    if (player.avatar.container.has(name)) {
      const picture = make("img", { alt: "", loading: "lazy", width: "64", height: "64", draggable: "false" });
      picture.src = URL.createObjectURL(new Blob([player.avatar.container.file(name)], { type: "image/jpeg" }));
      chip.append(picture);
    }
    chip.append(make("span", {}, option.label));
    chip.addEventListener("click", () => {
      const { to, weight } = player.blends[category];
      if (to === option && weight >= 1) return;
      player.choose(category, option);
      this.cards[category]();
    });
    return chip;
  }

  private surprise(): void {
    const { player } = this;
    for (const [category, { options, absentable }] of Object.entries(player.avatar.header.looks.categories)) {
      if (options.length < 2) continue;
      const bare = options.find((option) => option.kind !== "look") ?? options[0];
      const dressed = options.filter((option) => option.kind === "look" && option !== player.blends[category].to);
      const plain = Math.random() < (absentable ? 0.65 : 0.35);
      const option = plain || !dressed.length ? bare : dressed[Math.floor(Math.random() * dressed.length)];
      player.choose(category, option);
    }
  }

  // ---- face -------------------------------------------------------------------------------------------

  private face(): HTMLElement {
    const { player } = this;
    const { names } = player.avatar.header.face;
    const section = make("section", { id: "face", role: "tabpanel", "aria-label": "Face", hidden: "" });
    const moods = make("div", { class: "moods" });
    for (const [mood, values] of Object.entries(EXPRESSIONS)) {
      if (!Object.keys(values).every((name) => names.includes(name))) continue;
      const button = make("button", { type: "button", class: "mood" }, mood);
      button.addEventListener("click", () => {
        for (const name of names) player.units[name] = values[name] ?? 0;
        if (mood === "neutral") Object.assign(player.turn, { yaw: 0, pitch: 0, roll: 0 });
        this.refresh();
      });
      moods.append(button);
    }
    const head = make("article", { class: "card" }, make("header", {}, make("h2", {}, "head")));
    for (const { key, label, most } of TURNS) {
      const limit = (most * Math.PI) / 180;
      head.append(this.row(label, -limit, limit, () => player.turn[key], (value) => { player.turn[key] = value; }));
    }
    section.append(moods, head);
    for (const group of GROUPS) {
      const own = names.filter((name) => name.startsWith(group));
      if (!own.length) continue;
      const rows = own.map((name) => {
        const read = (): number => player.units[name] || 0;
        return this.row(spoken(name, group), 0, 1, read, (value) => { player.units[name] = value; }, name);
      });
      const more = make("details", { class: "card" }, make("summary", {}, make("h2", {}, group)), ...rows);
      if (group === "mouth") more.open = true;
      section.append(more);
    }
    return section;
  }

  private row(
    label: string, low: number, high: number, read: () => number, write: (value: number) => void, id = label,
  ): HTMLElement {
    const range = slider(id, low, high, read(), (value) => { write(value); this.player.touch(); });
    range.dataset.unit = id;
    range.addEventListener("dblclick", () => { write(clamp(0, low, high)); this.refresh(); });
    this.ranges.push({ range, read });
    return make("label", { class: "row" }, make("span", {}, label), range);
  }

  /** Every slider where its value is. */
  refresh(): void {
    for (const { range, read } of this.ranges) place(range, read());
    for (const show of Object.values(this.cards)) show();
    this.player.touch();
  }

  // ---- around -----------------------------------------------------------------------------------------

  private tabs(entries: [string, HTMLElement][]): HTMLElement {
    const bar = make("nav", { role: "tablist" });
    const buttons = entries.map(([label, section]) => {
      const button = make("button", { type: "button", role: "tab", "aria-controls": section.id }, label);
      button.addEventListener("click", () => { open(section); });
      return button;
    });
    const open = (chosen: HTMLElement): void => {
      entries.forEach(([, section], k) => {
        section.hidden = section !== chosen;
        buttons[k].setAttribute("aria-selected", `${section === chosen}`);
      });
    };
    bar.append(...buttons);
    open(entries[0][1]);
    return bar;
  }

  private tools(): HTMLElement {
    const { player } = this;
    const shuffle = make("button", { type: "button", id: "surprise", class: "main" }, icon(ICONS.shuffle), "Surprise me");
    shuffle.addEventListener("click", () => { this.surprise(); });
    const idle = make("button", { type: "button", id: "idle", title: "Idle motion" });
    const show = (): void => {
      idle.replaceChildren(icon(player.idle ? ICONS.pause : ICONS.play));
      idle.setAttribute("aria-label", player.idle ? "Pause the idle motion" : "Play the idle motion");
    };
    idle.addEventListener("click", () => { player.idle = !player.idle; player.touch(); show(); });
    show();
    const reset = make("button", { type: "button", id: "reset", title: "Reset", "aria-label": "Reset" }, icon(ICONS.reset));
    reset.addEventListener("click", () => {
      const { categories } = player.avatar.header.looks;
      for (const category of Object.keys(categories)) player.choose(category, categories[category].options[0]);
      for (const name of Object.keys(player.units)) player.units[name] = 0;
      Object.assign(player.turn, { yaw: 0, pitch: 0, roll: 0 });
      Object.assign(player.camera, { yaw: 0, pitch: 0, zoom: 1 });
      this.refresh();
    });
    return make("div", { class: "tools" }, idle, shuffle, reset);
  }
}

/** "mouthSmileLeft" of the group "mouth" as "smile left". */
function spoken(name: string, group: string): string {
  const words = name.slice(group.length).replace(/([A-Z])/g, " $1").trim().toLowerCase();
  return words || name;
}

/** Drag to orbit, wheel or two fingers to come nearer, double click to go back. */
export function steer(player: Player): void {
  const { canvas, camera } = player;
  const fingers = new Map<number, { x: number; y: number }>();
  const spread = (): number => {
    const [a, b] = [...fingers.values()];
    return Math.hypot(a.x - b.x, a.y - b.y);
  };
  canvas.addEventListener("pointerdown", (event) => {
    fingers.set(event.pointerId, { x: event.clientX, y: event.clientY });
    canvas.setPointerCapture(event.pointerId);
  });
  canvas.addEventListener("pointermove", (event) => {
    const finger = fingers.get(event.pointerId);
    if (!finger) return;
    const before = fingers.size === 2 ? spread() : 0;
    if (fingers.size === 1)
      camera.orbit(-(event.clientX - finger.x) * -0.007, (event.clientY - finger.y) * -0.005);
    finger.x = event.clientX;
    finger.y = event.clientY;
    if (before > 0) camera.magnify(spread() / before);
    player.touch();
  });
  for (const kind of ["pointerup", "pointercancel"] as const)
    canvas.addEventListener(kind, (event) => { fingers.delete(event.pointerId); });
  canvas.addEventListener("wheel", (event) => {
    event.preventDefault();
    camera.magnify(Math.exp(-event.deltaY * 0.0012));
    player.touch();
  }, { passive: false });
  canvas.addEventListener("dblclick", () => {
    Object.assign(camera, { yaw: 0, pitch: 0, zoom: 1 });
    player.touch();
  });
  canvas.addEventListener("keydown", (event) => {
    const turns: Record<string, [number, number] | undefined> = {
      ArrowLeft: [-0.08, 0], ArrowRight: [0.08, 0], ArrowUp: [0, 0.06], ArrowDown: [0, -0.06],
    };
    const by = turns[event.key];
    if (!by) return;
    event.preventDefault();
    camera.orbit(...by);
    player.touch();
  });
}
