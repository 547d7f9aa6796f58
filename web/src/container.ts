/** The packed arrays of an avatar, as src/perse/export/_container.py writes them. */

interface Entry {
  shape: number[];
  offset: number;
  bytes: number;
  type: "f32" | "i16" | "u32" | "u8";
  steps?: number[];
}

const MAGIC = "PERSEPG2";

export class Container<Header> {
  readonly header: Header;
  private readonly entries: Record<string, Entry | undefined>;
  private readonly body: number;

  constructor(private readonly buffer: ArrayBuffer) {
    const magic = String.fromCharCode(...new Uint8Array(buffer, 0, MAGIC.length));
    if (magic !== MAGIC) throw new Error("the avatar in this page is of another version");
    const length = new DataView(buffer).getUint32(MAGIC.length, true);
    const start = MAGIC.length + 4;
    const text = new TextDecoder().decode(new Uint8Array(buffer, start, length));
    const header = JSON.parse(text) as Header & { arrays: Record<string, Entry> };
    this.header = header;
    this.entries = header.arrays;
    this.body = start + length;
  }

  has(name: string): boolean {
    return this.entries[name] !== undefined;
  }

  /** A table [n, columns] column by column: the whole of column c is `[c * n, (c + 1) * n)`. */
  columns(name: string): Float32Array<ArrayBuffer> {
    const { steps } = this.entry(name);
    const { rows, words } = this.words(name);
    const values = new Float32Array(words.length);
    for (let c = 0; c < (steps?.length ?? 0); c++) {
      const step = steps?.[c] ?? 1;
      for (let i = c * rows; i < (c + 1) * rows; i++) values[i] = words[i] * step;
    }
    return values;
  }

  /** The integers of a rounded table, column by column, and the step of every column. */
  words(name: string): { rows: number; words: Int16Array; steps: number[] } {
    const entry = this.entry(name);
    const rows = entry.shape[0];
    const count = entry.shape.reduce((a, b) => a * b, 1);
    const low = new Uint8Array(this.buffer, this.body + entry.offset, 2 * count);
    const words = new Int16Array(count);
    for (let i = 0; i < count; i++) {
      const word = low[i] | (low[count + i] << 8); // 0, -1, 1, -2...
      words[i] = (word >>> 1) ^ -(word & 1);
    }
    return { rows, words, steps: entry.steps ?? [] };
  }

  floats(name: string): Float32Array<ArrayBuffer> {
    const entry = this.entry(name);
    return new Float32Array(this.buffer.slice(this.body + entry.offset, this.body + entry.offset + entry.bytes));
  }

  indices(name: string): Uint32Array {
    const entry = this.entry(name);
    return new Uint32Array(this.buffer, this.body + entry.offset, entry.shape[0]);
  }

  file(name: string): Uint8Array<ArrayBuffer> {
    const entry = this.entry(name);
    return new Uint8Array(this.buffer, this.body + entry.offset, entry.shape[0]);
  }

  private entry(name: string): Entry {
    const entry = this.entries[name];
    if (!entry) throw new Error(`the avatar in this page lacks ${name}`);
    return entry;
  }
}

/** The base64 text of all parts, inflated. `progress` is told a share of 0 to 1. */
export async function unpack(parts: string[], progress: (share: number) => void): Promise<ArrayBuffer> {
  let sent = 0;
  const stream = new ReadableStream<Uint8Array<ArrayBuffer>>({
    pull(controller) {
      if (sent === parts.length) {
        controller.close();
        return;
      }
      const binary = atob(parts[sent++]);
      const bytes = new Uint8Array(binary.length);
      for (let i = 0; i < binary.length; i++) bytes[i] = binary.charCodeAt(i);
      progress(sent / parts.length);
      controller.enqueue(bytes);
    },
  });
  return new Response(stream.pipeThrough(new DecompressionStream("gzip"))).arrayBuffer();
}
