// Searching: the photos of this page by their vectors, and the server's index where it has one.
import { computed, effect, signal } from "@preact/signals";
import { ApiError, abilities, ask, can, get } from "./connection";
import { parseQuery, queryVector } from "./query";
import { add, failed, failureOf, photos, retry, selectedId, vectors, type Photo, type Work } from "./photos";

/** A photo of the index: its path there, and how well it fits. */
export interface Hit {
  photo: string;
  score: number;
  /** It is not where it was when it was indexed. */
  gone: boolean;
}

export interface Found {
  photo: Photo;
  score: number;
}

const MOST_HITS = 24;
// Between the last letter and the request: about the time between two letters.
const PAUSE_MS = 150;

export const text = signal("");
/** The photo that others are compared with. */
export const like = signal<Photo | null>(null);
export const vector = signal<Work<Float32Array> | null>(null);
export const hits = signal<Hit[]>([]);
/** What the server finds doubtful about the text. */
export const remarks = signal<string[]>([]);

export const searching = computed(() => like.value !== null || text.value.trim() !== "");
export const hasIndex = computed(() => (abilities.value?.index ?? 0) > 0);
export const mayFind = computed(() => can("embed") && (photos.value.length > 0 || hasIndex.value));

export const dot = (a: Float32Array, b: Float32Array): number => a.reduce((sum, x, i) => sum + x * b[i]!, 0);

/** The photos of this page, best first. */
export const found = computed<Found[]>(() => {
  const wanted = vector.value;
  if (wanted?.state !== "done") return [];
  const scored: Found[] = [];
  for (const photo of photos.value) {
    const own = photo.vector.value;
    if (own.state === "done" && photo !== like.value) scored.push({ photo, score: dot(own.value, wanted.value) });
  }
  return scored.sort((a, b) => b.score - a.score);
});

export const unread = computed(
  () => photos.value.filter((one) => one.vector.value.state !== "done" && !failureOf(one.vector.value)).length,
);

const known = new Map<string, Float32Array>();

/** The vectors of texts; those asked before are remembered. */
export async function textVectors(texts: string[], signal?: AbortSignal): Promise<Float32Array[]> {
  const missing = [...new Set(texts.filter((one) => !known.has(one)))];
  if (missing.length) {
    const got = await vectors(missing, "text", signal);
    missing.forEach((one, i) => known.set(one, got[i]!));
  }
  return texts.map((one) => known.get(one)!);
}

export function clear(): void {
  text.value = "";
  like.value = null;
}

export function findLike(photo: Photo): void {
  text.value = "";
  like.value = photo;
  if (failureOf(photo.vector.value)) retry(photo);
}

let present: AbortController | null = null;
let timer = 0;

function begin(pauseMs: number, search: (signal: AbortSignal) => Promise<void>): void {
  const mine = new AbortController();
  present = mine;
  timer = window.setTimeout(() => {
    search(mine.signal).catch((error: unknown) => {
      const failure = error instanceof ApiError ? error : new ApiError("failed", String(error));
      if (failure.kind === "aborted" || mine.signal.aborted) return;
      vector.value = failed(failure);
      hits.value = [];
    });
  }, pauseMs);
}

effect(() => {
  const wanted = text.value.trim();
  const other = like.value;
  const otherVector = other?.vector.value;
  present?.abort();
  clearTimeout(timer);
  remarks.value = [];
  if (other && otherVector) {
    vector.value = otherVector;
    hits.value = [];
    if (otherVector.state === "done" && hasIndex.peek()) {
      begin(0, async (signal) => look({ photo: await other.data() }, signal));
    }
  } else if (wanted) {
    if (vector.peek()?.state !== "done") vector.value = { state: "working" };
    begin(PAUSE_MS, async (signal) => {
      const query = parseQuery(wanted);
      if (query.wanted === null) {
        vector.value = null;
        hits.value = [];
        return;
      }
      const [own, ...unwanted] = await textVectors([query.wanted, ...query.unwanted], signal);
      if (signal.aborted) return;
      vector.value = { state: "done", value: queryVector(own!, unwanted) };
      if (hasIndex.peek()) await look({ text: wanted }, signal);
    });
  } else {
    vector.value = null;
    hits.value = [];
  }
});

async function look(query: { text: string } | { photo: string }, signal: AbortSignal): Promise<void> {
  const got = await ask<{ hits: Hit[]; remarks: string[] }>("v1/search", { ...query, k: MOST_HITS }, { signal });
  if (signal.aborted) return;
  hits.value = got.hits;
  remarks.value = got.remarks;
}

/** What the best of those found has, of which the others have their share. */
export const best = computed(() => Math.max(0, ...found.value.map((one) => one.score), ...hits.value.map((one) => one.score)));

const FEW = 8;

/** A few photos of the index, for who has not looked for anything yet: those most like a photo. */
export async function fewOfIndex(): Promise<Hit[]> {
  const got = await ask<{ hits: Hit[] }>("v1/search", { text: "a photo", k: FEW });
  return got.hits.filter((one) => !one.gone);
}

// Small pictures of the server, by address. Fetched and not linked: a link could not carry the key.
const small = new Map<string, Promise<string>>();
let turn: Promise<unknown> = Promise.resolve();

/** What an <img> shows of an address of the server. */
function picture(address: string): Promise<string> {
  let url = small.get(address);
  if (!url) {
    const mine = turn.then(() => get(address)).then((blob) => URL.createObjectURL(blob));
    // One that failed is asked for again when it is next shown.
    turn = mine.catch(() => small.delete(address));
    small.set(address, mine);
    url = mine;
  }
  return url;
}

export const thumbnail = (path: string): Promise<string> => picture(address(path, 320));

const address = (path: string, edge: number): string =>
  `v1/page/photo?${new URLSearchParams({ path, edge: String(edge) })}`;

/** A photo of the index becomes one of this page, to be asked about and compared like the others. */
export async function open(path: string): Promise<void> {
  await opened(path, address(path, 1600));
}

async function opened(source: string, address: string): Promise<void> {
  let photo = photos.value.find((one) => one.source === source);
  if (!photo) {
    const blob = await get(address);
    photo = add([new File([blob], source.split(/[\\/]/).pop() ?? source, { type: blob.type })], source)[0]!;
  }
  selectedId.value = photo.id;
}

const sampleAddress = (name: string): string => `v1/page/sample?${new URLSearchParams({ name })}`;

export const sampleThumbnail = (name: string): Promise<string> => picture(`${sampleAddress(name)}&edge=160`);

/** A sample photo becomes one of this page. */
export const openSample = (name: string): Promise<void> => opened(`sample/${name}`, sampleAddress(name));
