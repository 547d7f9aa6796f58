/** The page: waits for its parts, unpacks the avatar, shows it, and answers to scripts by `window.perse`. */

import { Avatar, type Header } from "./avatar";
import { Container, unpack } from "./container";
import type { Option } from "./looks";
import { Panel, steer } from "./panel";
import { Player, type Turn } from "./player";

/** For scripts in and around the page; docs/export.md describes it. */
interface Scripting {
  ready: Promise<void>;
  categories(): Record<string, string[]>;
  wear(category: string, look: string, other?: string, weight?: number): void;
  face(units: Record<string, number>, turn?: Partial<Turn>): void;
  idle(playing: boolean): void;
  view(yaw: number, pitch: number, zoom?: number): void;
  painter(who?: "gpu" | "cpu"): "gpu" | "cpu";
  picture(width: number, height: number): { width: number; height: number; rgba: Uint8Array };
  stats(): { points: number; drawn: number; frames: number; framesPerSecond: number };
}

declare global {
  interface Window {
    perse: Scripting;
  }
}

function find(id: string): HTMLElement {
  const element = document.getElementById(id);
  if (!element) throw new Error(`this page lacks its ${id}`);
  return element;
}

/** The texts of all parts; the page may still be arriving. */
async function parts(progress: (share: number) => void): Promise<string[]> {
  const total = Number(document.body.dataset.parts);
  const arrived = (): NodeListOf<HTMLElement> => document.querySelectorAll<HTMLElement>("script.part");
  while (document.readyState === "loading") {
    progress(arrived().length / total);
    await new Promise((resolve) => setTimeout(resolve, 30));
  }
  const texts = [...arrived()].map((part) => part.textContent);
  if (texts.length !== total) throw new Error(`this page is cut short: ${texts.length} of ${total} parts are here`);
  arrived().forEach((part) => { part.remove(); });
  return texts;
}

async function start(): Promise<Player> {
  const bar = find("bar");
  const report = (share: number): void => { bar.style.setProperty("--done", `${share}`); };
  const texts = await parts((share) => { report(0.6 * share); });
  const packed = await unpack(texts, (share) => { report(0.6 + 0.3 * share); });
  report(0.95);
  await new Promise(requestAnimationFrame);
  const avatar = new Avatar(new Container<Header>(packed));
  const canvas = find("canvas") as HTMLCanvasElement;
  canvas.addEventListener("webglcontextlost", (event) => {
    event.preventDefault();
    complain("The graphics driver stopped. Reload the page to go on.");
  });
  const player = new Player(avatar, canvas);
  if (matchMedia("(prefers-reduced-motion: reduce)").matches) player.idle = false;
  new Panel(player, find("stage"), find("panel"));
  steer(player);
  player.start();
  report(1);
  document.body.classList.add("ready");
  return player;
}

function complain(message: string): void {
  const note = find("note");
  note.textContent = message;
  document.body.classList.add("failed");
}

const started = start();

async function ready(): Promise<void> {
  try {
    await started;
  } catch (error) {
    complain(error instanceof Error ? error.message : String(error));
    throw error;
  }
}

let player: Player | null = null;
void started.then((made) => { player = made; }, () => undefined);

function playing(): Player {
  if (!player) throw new Error("wait for perse.ready first");
  return player;
}

function option(category: string, label: string): Option {
  const { categories } = playing().avatar.header.looks;
  if (!(category in categories)) throw new Error(`there is no category ${category}`);
  const found = categories[category].options.find((one) => one.label === label || one.kind === label);
  if (!found) throw new Error(`${category} has no look ${label}`);
  return found;
}

window.perse = {
  ready: ready(),
  categories: () =>
    Object.fromEntries(
      Object.entries(playing().avatar.header.looks.categories).map(([name, { options }]) => [
        name,
        options.map(({ label }) => label),
      ]),
    ),
  wear: (category, look, other = look, weight = 0) => {
    playing().blend(category, option(category, look), option(category, other), weight);
    playing().onMorph(category);
  },
  face: (units, turn = {}) => {
    const { names } = playing().avatar.header.face;
    for (const name of Object.keys(units)) if (!names.includes(name)) throw new Error(`this head has no ${name}`);
    for (const name of names) playing().units[name] = units[name] ?? 0;
    Object.assign(playing().turn, { yaw: 0, pitch: 0, roll: 0 }, turn);
    playing().touch();
  },
  idle: (on) => { playing().pause(!on); },
  view: (yaw, pitch, zoom = 1) => {
    Object.assign(playing().camera, { yaw, pitch, zoom });
    playing().touch();
  },
  painter: (who = playing().painter) => {
    if (who !== "gpu" && (who as string) !== "cpu") throw new Error("the painter is gpu or cpu");
    return (playing().painter = who);
  },
  picture: (width, height) => ({ width, height, rgba: playing().picture(width, height) }),
  stats: () => {
    const { times, avatar, visible, frames } = playing();
    const seconds = times.length > 1 ? (times[times.length - 1] - times[0]) / 1000 : Infinity;
    return { points: avatar.count, drawn: visible, frames, framesPerSecond: (times.length - 1) / seconds };
  },
};
