// Searching: the photos of this page and those of the server's index, in one list.
import { batch, computed, effect, signal } from "@preact/signals";
import { ApiError, abilities, ask, can, get } from "./connection";
import { parseQuery, queryVector } from "./query";
import { add, codedVector, failed, failureOf, photos, retry, selectedId, vectors, type Photo, type Work } from "./photos";

/** A photo of the index: its path there, and how well it fits. */
export interface Hit {
  photo: string;
  score: number;
  /** That what is looked for fits it; null where the model does not say. */
  probability: number | null;
  /** It is not where it was when it was indexed. */
  gone: boolean;
}

/** One of those found: a photo of the page, or one of the index. */
export type Found = { own: Photo; score: number; probability: number | null } | ({ own: null } & Hit);

const MOST_HITS = 24;
// As many photos of the page as the server looks through at once.
const MOST_OWN = 1000;
// Between the last letter and the request: about the time between two letters.
const PAUSE_MS = 150;
// Until photos that have come meanwhile are looked through, too.
const AGAIN_MS = 400;

export const text = signal("");
/** The photo that others are compared with. */
export const like = signal<Photo | null>(null);
/** Whether those are shown, too, that hardly fit. */
export const all = signal(false);
/** What is looked for, which stays as it was found until something else is. */
export const search = signal<Work<Found[]> | null>(null);
/** What the server finds doubtful about the text. */
export const remarks = signal<string[]>([]);

export const searching = computed(() => like.value !== null || text.value.trim() !== "");
export const hasIndex = computed(() => (abilities.value?.index ?? 0) > 0);
export const mayFind = computed(() => can("embed") && (photos.value.length > 0 || hasIndex.value));

export const dot = (a: Float32Array, b: Float32Array): number => a.reduce((sum, x, i) => sum + x * b[i]!, 0);

let lastReadable: Photo[] = [];

/** Photos of the page that can be searched. The same list, as long as they are the same. */
const readable = computed(() => {
  const now = photos.value.filter((one) => one.vector.value.state === "done").slice(-MOST_OWN);
  const same = now.length === lastReadable.length && now.every((one, i) => one === lastReadable[i]);
  return same ? lastReadable : (lastReadable = now);
});

/** Those found that are still there, best first; of the index none that is one of the page, too. */
export const found = computed<Found[]>(() => {
  if (search.value?.state !== "done") return [];
  const there = new Set(photos.value);
  const sources = new Set(photos.value.map((one) => one.source));
  return search.value.value.filter((one) => (one.own ? there.has(one.own) : !sources.has(one.photo)));
});

/** Whether some are left out that hardly fit. */
export const leftOut = signal(false);

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

/** What is looked for as a vector; null where only unwanted words are given. */
export async function queryOf(text: string, signal: AbortSignal): Promise<Float32Array | null> {
  const query = parseQuery(text);
  if (query.wanted === null) return null;
  const [own, ...unwanted] = await textVectors([query.wanted, ...query.unwanted], signal);
  return queryVector(own!, unwanted);
}

export function lookFor(wanted: string): void {
  batch(() => {
    text.value = wanted;
    like.value = null;
    all.value = false;
  });
}

export const clear = (): void => lookFor("");

export function findLike(photo: Photo): void {
  lookFor("");
  like.value = photo;
  if (failureOf(photo.vector.value)) retry(photo);
}

// Of the search that is about to begin or under way.
let present: AbortController | null = null;
// Whether it was begun before the page's photos were what they are.
let stale = false;

function begin(pauseMs: number): void {
  present?.abort();
  const mine = (present = new AbortController());
  setTimeout(async () => {
    if (!mine.signal.aborted) await look(mine.signal);
    if (present !== mine) return;
    present = null;
    if (stale) begin(AGAIN_MS);
  }, pauseMs);
}

effect(() => {
  const wanted = text.value.trim();
  const other = like.value;
  const read = other?.vector.value ?? null;
  void all.value;
  present?.abort();
  present = null;
  if (read && read.state !== "done") {
    search.value = read;
  } else if (other || (wanted && parseQuery(wanted).wanted !== null)) {
    if (search.peek()?.state !== "done") search.value = { state: "working" };
    begin(other ? 0 : PAUSE_MS);
  } else {
    search.value = null;
    leftOut.value = false;
    remarks.value = [];
  }
});

// Photos that come and are read while one looks do not begin the search anew, or it might never end.
effect(() => {
  void readable.value;
  if (present) stale = true;
  else if (search.peek()) begin(AGAIN_MS);
});

async function look(signal: AbortSignal): Promise<void> {
  stale = false;
  const own = readable.peek();
  const [wanted, other] = [text.peek().trim(), like.peek()];
  // One that has just been taken away.
  if (other && !own.includes(other)) return;
  const query = other ? { like: own.indexOf(other) } : { text: wanted, ...(all.peek() && { min_probability: 0 }) };
  const body = { ...query, vectors: own.map(codedVector), names: own.map((one) => one.name), k: MOST_HITS };
  try {
    const got = await ask<Answer>("v1/page/search", body, { signal });
    if (signal.aborted) return;
    const value = got.hits.map((one) => (one.own === null ? { ...one, own: null } : { ...one, own: own[one.own]! }));
    batch(() => {
      search.value = { state: "done", value };
      leftOut.value = got.left_out > 0;
      remarks.value = got.remarks;
    });
  } catch (error) {
    const failure = error instanceof ApiError ? error : new ApiError("failed", String(error));
    if (failure.kind !== "aborted" && !signal.aborted) search.value = failed(failure);
  }
}

interface Answer {
  hits: (Hit & { own: number | null })[];
  left_out: number;
  remarks: string[];
}

/** What the best of those found has, of which the others have their share. */
export const best = computed(() => Math.max(0, ...found.value.map((one) => one.score)));

const FEW = 8;

/** A few photos of the index, for who has not looked for anything yet: those most like a photo. */
export async function fewOfIndex(): Promise<Hit[]> {
  const got = await ask<{ hits: Hit[] }>("v1/search", { text: "a photo", k: FEW, min_probability: 0 });
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
