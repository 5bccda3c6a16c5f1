// Whether the server is there, what it can do, and every request to it.
import { signal } from "@preact/signals";
import { remember, remembered } from "./memory";

/** What the server says about itself to this page. */
export interface Abilities {
  model: string;
  /** Changes when the model's files do. */
  files: string;
  tasks: string[];
  languages: string[];
  /** The longest edge that the model sees. */
  image_size: number | null;
  photo_bytes: number;
  /** Photos in its index; null where it has none. */
  index: number | null;
  /** Names of photos to try it with. */
  samples: string[];
}

export type Server = "starting" | "ready" | "key" | "gone" | "failed" | "refused";

export const server = signal<Server>("starting");
export const abilities = signal<Abilities | null>(null);
export const keyRefused = signal(false);
/** Why the server does not answer this page, in its own words. */
export const refusedWith = signal("");

/** kind: the server's word for it, or `gone` and `aborted`. */
export class ApiError extends Error {
  constructor(
    readonly kind: string,
    message: string,
    readonly status = 0,
    readonly retryAfterS = 1,
  ) {
    super(message);
  }
}

/** Whether the server does not hold a photo, or not any more; it has to be sent again. */
export const holdsNot = (error: unknown): boolean => error instanceof ApiError && error.kind === "not_held";

// Only as long as the tab lives: a key is a secret.
let key = sendable(remembered("key", sessionStorage) ?? "");
let polling = false;

export const can = (task: string): boolean => abilities.value?.tasks.includes(task) ?? false;

/** The key, or none where a header cannot carry it: with such a key no request could be sent at all. */
function sendable(given: string): string {
  return /^[\x20-\x7e]*$/.test(given) ? given : "";
}

export function useKey(given: string): void {
  const typed = given.trim();
  if (sendable(typed) !== typed) {
    keyRefused.value = true;
    return;
  }
  key = typed;
  remember("key", key, sessionStorage);
  void poll();
}

export function connect(): void {
  void poll();
}

// Its format is seen by its bytes, whatever the browser takes it for.
const PHOTO = "application/octet-stream";

const sleep = (ms: number): Promise<void> => new Promise((done) => setTimeout(done, ms));

// It may answer otherwise in a moment: its queue is full, or the request came too slowly.
const PASSING = [408, 429];

/**
 * Ask until the server answers. A key that is wanted or refused ends it until one is given; a page that the
 * server does not answer ends it for good.
 */
async function poll(): Promise<void> {
  if (polling) return;
  polling = true;
  try {
    for (let wait = 500; ; wait = Math.min(wait * 1.5, 4000)) {
      try {
        abilities.value = await send<Abilities>("v1/page");
        keyRefused.value = false;
        server.value = "ready";
        return;
      } catch (error) {
        const { kind, status, message } = error as ApiError;
        if (status === 401) {
          keyRefused.value = key !== "";
          server.value = "key";
          return;
        }
        if (status >= 400 && status < 500 && !PASSING.includes(status)) {
          refusedWith.value = message;
          server.value = "refused";
          return;
        }
        server.value = kind === "gone" ? "gone" : kind === "failed" || status === 500 ? "failed" : "starting";
      }
      await sleep(wait);
    }
  } finally {
    polling = false;
  }
}

function whenReady(signal?: AbortSignal): Promise<void> {
  return new Promise((done, fail) => {
    let stop = () => {};
    const aborted = () => {
      stop();
      fail(new ApiError("aborted", ""));
    };
    if (signal?.aborted) return aborted();
    signal?.addEventListener("abort", aborted, { once: true });
    stop = server.subscribe((state) => {
      if (state !== "ready") return;
      signal?.removeEventListener("abort", aborted);
      queueMicrotask(() => stop());
      done();
    });
  });
}

/** path: relative to the page, which may lie below a proxy's prefix. body: a photo as it is, else JSON. */
async function answered(path: string, body?: unknown, signal?: AbortSignal): Promise<Response> {
  try {
    return await fetch(path, {
      method: body === undefined ? "GET" : "POST",
      headers: {
        ...(body === undefined ? {} : { "content-type": body instanceof Blob ? PHOTO : "application/json" }),
        ...(key ? { authorization: `Bearer ${key}` } : {}),
      },
      body: body instanceof Blob || body === undefined ? body : JSON.stringify(body),
      signal,
      cache: "no-store",
    });
  } catch {
    if (signal?.aborted) throw new ApiError("aborted", "");
    throw new ApiError("gone", "");
  }
}

async function send<T>(path: string, body?: unknown, signal?: AbortSignal): Promise<T> {
  const response = await answered(path, body, signal);
  const given = await response.json().catch(() => null);
  if (response.ok && given !== null) return given as T;
  if (signal?.aborted) throw new ApiError("aborted", "");
  if (response.ok) throw new ApiError("gone", "");
  throw refusal(response, given);
}

function refusal(response: Response, given: { error?: { type: string; message: string } } | null): ApiError {
  const error = given?.error ?? { type: "failed", message: `HTTP ${response.status}` };
  const retry = Number(response.headers.get("retry-after"));
  return new ApiError(error.type, error.message, response.status, retry > 0 ? retry : 1);
}

/** What lies at an address, as bytes. */
export async function get(path: string): Promise<Blob> {
  await whenReady();
  const response = await answered(path);
  if (!response.ok) throw refusal(response, await response.json().catch(() => null));
  return response.blob();
}

/**
 * POST, once the server is ready. Where it goes away or wants a key on the way, this waits until it is back;
 * where it is too busy, `busy` is told for how long, and it is asked again a few times.
 */
export async function ask<T>(
  path: string,
  body: unknown,
  { signal, busy }: { signal?: AbortSignal; busy?: (seconds: number) => void } = {},
): Promise<T> {
  for (let tries = 1; ; tries++) {
    await whenReady(signal);
    try {
      return await send<T>(path, body, signal);
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      if (error.kind === "gone") {
        server.value = "gone";
        void poll();
      } else if (error.status === 401) {
        server.value = "key";
        void poll();
      } else if (error.status === 503) {
        server.value = "starting";
        void poll();
      } else if (error.status === 429 && tries < 6) {
        busy?.(error.retryAfterS);
        // Spread out, so that those refused together do not come back together.
        await sleep(1000 * error.retryAfterS * (1 + Math.random() / 2));
      } else {
        throw error;
      }
    }
  }
}
