// The photos of the page, and what the server has said about each.
import { batch, computed, effect, signal, type Signal } from "@preact/signals";
import { ApiError, abilities, ask, can, holdsNot } from "./connection";
import { allKept, forget, keep, type Kept } from "./kept";
import { language } from "./language";
import { shrunk } from "./shrink";

export type Work<T> =
  | { state: "waiting" }
  | { state: "working" }
  | { state: "busy"; seconds: number }
  | { state: "done"; value: T }
  | Failed;

/** again: it may be otherwise another time. */
export interface Failed {
  state: "failed";
  kind: string;
  message: string;
  again: boolean;
}

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

/** answers: to choose from; null for any. */
export interface Asked {
  question: string;
  answers: string[] | null;
  work: Signal<Work<Answer>>;
}

/** Where the photo fits what is looked for: how much each of cells x cells parts counts, from 0 to 1, row by row. */
export interface HeatMap {
  cells: number;
  values: number[];
  /** The similarity lost where it counts most. */
  strongest: number;
}

export class Photo {
  readonly url: string;
  readonly captions = signal<Record<string, Work<Caption>>>({});
  readonly vector = signal<Work<Float32Array>>({ state: "waiting" });
  readonly asked = signal<Asked[]>([]);
  readonly heat = signal<HeatMap | null>(null);
  readonly leaving = new AbortController();
  /** What the server calls it once it was sent, for as long as it holds it; null where it does not. */
  held: string | null = null;
  private sent: Promise<Blob> | null = null;
  private sending: Promise<void> | null = null;

  /** source: where it was fetched from; null for one of this machine's. */
  constructor(
    readonly id: number,
    readonly file: Blob,
    readonly name: string,
    readonly source: string | null,
    readonly key: string,
  ) {
    this.url = URL.createObjectURL(file);
  }

  /** As requests carry it; made once. Raises ApiError for what makes it no photo to send. */
  blob(): Promise<Blob> {
    return (this.sent ??= this.made());
  }

  private async made(): Promise<Blob> {
    const most = abilities.value?.photo_bytes ?? Infinity;
    const blob = await shrunk(this.file, abilities.value?.image_size ?? null, most);
    if (blob.size > most) throw new ApiError("too_large", "");
    if (blob !== this.file) return blob;
    try {
      // Files may change or go, and a request with one that has gone fails as if the server had.
      return new Blob([await blob.arrayBuffer()], { type: blob.type });
    } catch {
      throw new ApiError("file", "");
    }
  }

  /** Send it, where the server holds none of it. Those who ask at the same time wait for the same. */
  async hold(options: Options): Promise<void> {
    if (this.held !== null) return;
    this.sending ??= (async () => {
      try {
        this.held = (await ask<{ photo: string | null }>("v1/page/hold", await this.blob(), options)).photo;
      } finally {
        this.sending = null;
      }
    })();
    await this.sending;
  }

  data = async (): Promise<string> => dataUrl(await this.blob());

  /** The file is what is sent. */
  asSent(held: string | null): this {
    this.sent = Promise.resolve(this.file);
    this.held = held;
    return this;
  }
}

/**
 * Ask about a photo, which is sent but once: the server holds it for a while. Where it does not any more, or was
 * started since, the photo is sent again; where it has no room for it, with the request itself.
 */
async function askOf<T>(photo: Photo, path: string, body: object, options: Options): Promise<T> {
  for (let tries = 0; tries < 2; tries++) {
    await photo.hold(options);
    const name = photo.held;
    if (name === null) break;
    try {
      return await ask<T>(path, { photo: name, ...body }, options);
    } catch (error) {
      if (!holdsNot(error)) throw error;
      if (photo.held === name) photo.held = null;
    }
  }
  return ask<T>(path, { photo: await photo.data(), ...body }, options);
}

const dataUrl = (blob: Blob): Promise<string> =>
  new Promise((done, fail) => {
    const reader = new FileReader();
    reader.onload = () => done((reader.result as string).replace(/^data:[^,]*?(;base64)?,/, "data:;base64,"));
    reader.onerror = () => fail(new ApiError("file", ""));
    reader.readAsDataURL(blob);
  });

export const photos = signal<Photo[]>([]);
export const selectedId = signal<number | null>(null);
export const selected = computed(() => photos.value.find((one) => one.id === selectedId.value) ?? null);
export const byKey = (key: string | undefined): Photo | undefined => photos.value.find((one) => one.key === key);

/** Captions are in the page's language where the model knows it. */
export const captionLanguage = computed(() => {
  const known = abilities.value?.languages ?? [];
  return known.includes(language.value) ? language.value : (known[0] ?? language.value);
});

export const captionOf = (photo: Photo): Work<Caption> =>
  photo.captions.value[captionLanguage.value] ?? { state: "waiting" };

export const failureOf = (work: Work<unknown>): Failed | null => (work.state === "failed" ? work : null);

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

export function add(files: File[], source: string | null = null): Photo[] {
  const added = files.map((file) => {
    const id = ++lastId;
    // In their order, also beside those of another tab.
    const key = `${Date.now()}-${String(id).padStart(6, "0")}-${Math.random().toString(36).slice(2)}`;
    return new Photo(id, file, file.name, source, key);
  });
  photos.value = [...photos.value, ...added];
  if (selectedId.value === null && added.length === 1) selectedId.value = added[0]!.id;
  return added;
}

export function remove(...gone: Photo[]): void {
  for (const photo of gone) {
    photo.leaving.abort();
    URL.revokeObjectURL(photo.url);
    void forget(photo.key);
    letGo(photo);
  }
  batch(() => {
    if (gone.some((photo) => photo.id === selectedId.value)) selectedId.value = null;
    photos.value = photos.value.filter((one) => !gone.includes(one));
  });
}

/** The server need not hold it any longer. */
function letGo(photo: Photo): void {
  if (photo.held !== null) ask("v1/page/forget", { photo: photo.held }).catch(() => {});
  photo.held = null;
}

/** Whether the photos that this browser has kept are here. */
export const restored = signal(false);
/** Whether this browser keeps photos at all; it may refuse to. */
export const keeps = signal(true);
// Kept photos of which it is not known yet whether the same model is there.
const unsettled = new Map<Photo, Kept>();

/** What was there before the page was loaded again. opened: the key of the photo that was open. */
export async function restore(opened: string | undefined): Promise<void> {
  for (const one of await allKept()) {
    unsettled.set(new Photo(++lastId, one.blob, one.name, one.source, one.key).asSent(one.held ?? null), one);
  }
  batch(() => {
    photos.value = [...unsettled.keys(), ...photos.value];
    selectedId.value ??= byKey(opened)?.id ?? null;
    restored.value = true;
  });
}

/** What the same model has said of a kept photo is not asked for again. */
function settle(photo: Photo): void {
  const kept = unsettled.get(photo);
  unsettled.delete(photo);
  if (!kept || kept.files !== abilities.value?.files) return;
  photo.captions.value = Object.fromEntries(
    Object.entries(kept.captions).map(([name, value]) => [name, { state: "done", value }]),
  );
  if (kept.vector) {
    embedding.add(photo);
    photo.vector.value = { state: "done", value: kept.vector };
  }
}

async function keepNow(photo: Photo): Promise<void> {
  const blob = await photo.blob();
  const captions: Record<string, Caption> = {};
  for (const [name, work] of Object.entries(photo.captions.value)) {
    if (work.state === "done") captions[name] = work.value;
  }
  const vector = photo.vector.value.state === "done" ? photo.vector.value.value : null;
  const { key, name, source, held } = photo;
  const files = abilities.value?.files ?? "";
  const kept = { key, name, source, blob, held, files, captions, vector };
  if (!photo.leaving.signal.aborted) keeps.value = await keep(kept);
  // Taken away meanwhile.
  if (photo.leaving.signal.aborted) void forget(key);
}

const embedding = new WeakSet<Photo>();
const prepared = new WeakSet<Photo>();
let preparing: Promise<void> = Promise.resolve();

// Whatever is not there yet is asked for: after photos are added, the server is back, the language changes.
effect(() => {
  const wanted = captionLanguage.value;
  const mayCaption = can("caption");
  const mayEmbed = can("embed");
  const there = photos.value;
  if (abilities.value === null) return;
  for (const photo of there) {
    if (unsettled.has(photo)) settle(photo);
    else if (!prepared.has(photo)) {
      // Before it is captioned, for which many others may wait.
      preparing = preparing.then(() => keepNow(photo)).catch(() => {});
    }
    prepared.add(photo);
    if (mayEmbed && !embedding.has(photo)) read(photo, wanted);
    else if (mayCaption && photo.captions.peek()[wanted] === undefined) caption(photo, wanted);
  }
});

/** Ask for all that the page wants to know, with the photo sent once. */
function read(photo: Photo, wanted: string): void {
  embedding.add(photo);
  const captions = can("caption");
  const say = (work: Work<{ caption: Caption | null; vector: string }>) => {
    const done = work.state === "done";
    batch(() => {
      photo.vector.value = done ? { state: "done", value: decoded(work.value.vector) } : work;
      if (!captions) return;
      sayCaption(photo, wanted, done ? { state: "done", value: work.value.caption! } : work);
    });
  };
  say({ state: "waiting" });
  const body = captions ? { language: wanted } : {};
  later(() => run(photo, say, (options) => askOf(photo, "v1/page/read", body, options)).then(() => settled(photo)));
}

function caption(photo: Photo, wanted: string): void {
  const say = (work: Work<Caption>) => sayCaption(photo, wanted, work);
  say({ state: "waiting" });
  const body = { language: wanted };
  later(() => run(photo, say, (options) => askOf(photo, "v1/caption", body, options)).then(() => settled(photo)));
}

function sayCaption(photo: Photo, language: string, work: Work<Caption>): void {
  photo.captions.value = { ...photo.captions.peek(), [language]: work };
}

/** Keep what was said; what is no photo is not kept. */
async function settled(photo: Photo): Promise<void> {
  const failures = [photo.vector.peek(), ...Object.values(photo.captions.peek())].map(failureOf);
  if (failures.some((one) => one && !one.again)) {
    letGo(photo);
    await forget(photo.key);
  } else {
    await keepNow(photo).catch(() => {});
  }
}

/** What failed is tried again. */
export function retry(photo: Photo): void {
  if (failureOf(photo.vector.value)) read(photo, captionLanguage.value);
  else if (failureOf(captionOf(photo))) caption(photo, captionLanguage.value);
}

export function question(photo: Photo, text: string, answers: string[] | null): void {
  const work = signal<Work<Answer>>({ state: "waiting" });
  photo.asked.value = [{ question: text, answers, work }, ...photo.asked.value];
  const body = { question: text, top: 3, ...(answers && { answers }) };
  const { held } = photo;
  const say = (value: Work<Answer>) => {
    work.value = value;
  };
  void run(photo, say, (options) => askOf(photo, "v1/ask", body, options)).then(() => {
    if (photo.held !== held) void keepNow(photo).catch(() => {});
  });
}

export async function vectors(
  input: string[],
  modality: "text" | "image",
  signal?: AbortSignal,
): Promise<Float32Array[]> {
  const body = { input, modality, encoding_format: "base64" };
  const got = await ask<{ data: { embedding: string }[] }>("v1/embeddings", body, { signal });
  return got.data.map(({ embedding }) => decoded(embedding));
}

const coded = new WeakMap<Float32Array, string>();

/** A photo's vector as the server sent it. */
export function codedVector(photo: Photo): string {
  const work = photo.vector.peek();
  if (work.state !== "done") return "";
  let written = coded.get(work.value);
  if (written === undefined) {
    written = btoa(Array.from(new Uint8Array(work.value.buffer), (one) => String.fromCharCode(one)).join(""));
    coded.set(work.value, written);
  }
  return written;
}

function decoded(vector: string): Float32Array {
  return new Float32Array(Uint8Array.from(atob(vector), (letter) => letter.charCodeAt(0)).buffer);
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
    if (failure.kind !== "aborted") say(failed(failure));
  }
}

export const failed = ({ kind, message, status }: ApiError): Failed => ({
  state: "failed",
  kind,
  message,
  again: status >= 500 || [408, 429].includes(status) || kind === "failed",
});
