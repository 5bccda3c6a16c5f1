// The photos dropped on the page, and what the server has said about each.
import { computed, effect, signal, type Signal } from "@preact/signals";
import { ApiError, abilities, ask, can } from "./connection";
import { language } from "./language";

export type Work<T> =
  | { state: "waiting" }
  | { state: "working" }
  | { state: "busy"; seconds: number }
  | { state: "done"; value: T }
  | { state: "failed"; kind: string; message: string };

export interface Caption {
  text: string;
  language: string;
  confidence: number | null;
  unsure: boolean;
  guess: string | null;
}

export interface Answer {
  answer: string;
  confidence: number;
  abstained: boolean;
  alternatives: { answer: string; confidence: number }[];
}

export interface Asked {
  question: string;
  work: Signal<Work<Answer>>;
}

export class Photo {
  readonly url: string;
  readonly captions = signal<Record<string, Work<Caption>>>({});
  readonly vector = signal<Work<Float32Array>>({ state: "waiting" });
  readonly asked = signal<Asked[]>([]);
  readonly leaving = new AbortController();

  constructor(
    readonly id: number,
    readonly file: File,
  ) {
    this.url = URL.createObjectURL(file);
  }

  get name(): string {
    return this.file.name;
  }

  /** As requests carry it. Read anew each time: a thousand photos would not fit in memory. */
  async data(): Promise<string> {
    if (this.file.size > (abilities.value?.photo_bytes ?? Infinity)) {
      throw new ApiError("too_large", "");
    }
    return dataUrl(this.file);
  }
}

export const dataUrl = (blob: Blob): Promise<string> =>
  new Promise((done, fail) => {
    const reader = new FileReader();
    reader.onload = () => {
      const url = reader.result as string;
      done(url.startsWith("data:,") || url === "data:" ? "data:application/octet-stream;base64," : url);
    };
    reader.onerror = () => fail(new ApiError("file", ""));
    reader.readAsDataURL(blob);
  });

export const photos = signal<Photo[]>([]);
export const selectedId = signal<number | null>(null);
export const selected = computed(() => photos.value.find((one) => one.id === selectedId.value) ?? null);

/** Captions are in the page's language where the model knows it. */
export const captionLanguage = computed(() => {
  const known = abilities.value?.languages ?? [];
  return known.includes(language.value) ? language.value : (known[0] ?? language.value);
});

export const captionOf = (photo: Photo): Work<Caption> =>
  photo.captions.value[captionLanguage.value] ?? { state: "waiting" };

export const failureOf = (work: Work<unknown>): { kind: string; message: string } | null =>
  work.state === "failed" ? work : null;

// A few at a time: the server runs those that wait together as one batch, and browsers send six at most.
const MOST_AT_ONCE = 4;
const jobs: (() => Promise<void>)[] = [];
let running = 0;

function later(job: () => Promise<void>): void {
  jobs.push(job);
  next();
}

function next(): void {
  while (running < MOST_AT_ONCE && jobs.length) {
    running++;
    void jobs.shift()!().finally(() => {
      running--;
      next();
    });
  }
}

let lastId = 0;

export function add(files: File[]): Photo[] {
  const added = files.map((file) => new Photo(++lastId, file));
  photos.value = [...photos.value, ...added];
  if (selectedId.value === null && added.length === 1) selectedId.value = added[0]!.id;
  return added;
}

export function remove(photo: Photo): void {
  photo.leaving.abort();
  URL.revokeObjectURL(photo.url);
  photos.value = photos.value.filter((one) => one !== photo);
  if (selectedId.value === photo.id) selectedId.value = null;
}

// Whatever is not there yet is asked for: after photos are added, the server is back, the language changes.
effect(() => {
  const wanted = captionLanguage.value;
  const mayCaption = can("caption");
  const mayEmbed = can("embed");
  for (const photo of photos.value) {
    if (mayCaption && photo.captions.peek()[wanted] === undefined) caption(photo, wanted);
    if (mayEmbed && !embedding.has(photo)) embed(photo);
  }
});

const embedding = new WeakSet<Photo>();

export function caption(photo: Photo, wanted: string): void {
  const say = (work: Work<Caption>) => {
    photo.captions.value = { ...photo.captions.peek(), [wanted]: work };
  };
  say({ state: "waiting" });
  later(() =>
    run(photo, say, async (options) =>
      ask<Caption>("v1/caption", { photo: await photo.data(), language: wanted }, options),
    ),
  );
}

export function embed(photo: Photo): void {
  embedding.add(photo);
  const say = (work: Work<Float32Array>) => {
    photo.vector.value = work;
  };
  say({ state: "waiting" });
  later(() =>
    run(photo, say, async (options) => {
      const [vector] = await vectors([await photo.data()], "image", options.signal, options.busy);
      return vector!;
    }),
  );
}

/** What failed is tried again. */
export function retry(photo: Photo): void {
  if (failureOf(captionOf(photo))) caption(photo, captionLanguage.value);
  if (failureOf(photo.vector.value)) embed(photo);
}

export function question(photo: Photo, text: string): void {
  const work = signal<Work<Answer>>({ state: "waiting" });
  photo.asked.value = [{ question: text, work }, ...photo.asked.value];
  void run<Answer>(
    photo,
    (value) => {
      work.value = value;
    },
    async (options) => ask<Answer>("v1/ask", { photo: await photo.data(), question: text, top: 3 }, options),
  );
}

export async function vectors(
  input: string[],
  modality: "text" | "image",
  signal?: AbortSignal,
  busy?: (seconds: number) => void,
): Promise<Float32Array[]> {
  const body = { input, modality, encoding_format: "base64" };
  const got = await ask<{ data: { embedding: string }[] }>("v1/embeddings", body, { signal, busy });
  return got.data.map(({ embedding }) => {
    const bytes = Uint8Array.from(atob(embedding), (letter) => letter.charCodeAt(0));
    return new Float32Array(bytes.buffer);
  });
}

interface Options {
  signal: AbortSignal;
  busy: (seconds: number) => void;
}

async function run<T>(
  photo: Photo,
  say: (work: Work<T>) => void,
  request: (options: Options) => Promise<T>,
): Promise<void> {
  const signal = photo.leaving.signal;
  if (signal.aborted) return;
  say({ state: "working" });
  try {
    const value = await request({ signal, busy: (seconds) => say({ state: "busy", seconds }) });
    say({ state: "done", value });
  } catch (error) {
    const failure = error instanceof ApiError ? error : new ApiError("failed", String(error));
    if (failure.kind !== "aborted") say({ state: "failed", kind: failure.kind, message: failure.message });
  }
}
