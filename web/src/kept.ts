// The photos of the page as this browser keeps them, so that a reload loses none. Browsers may refuse to, as
// in private windows; then nothing is kept.
import type { Caption } from "./photos";

export interface Kept {
  /** In the order they came. */
  key: string;
  name: string;
  source: string | null;
  blob: Blob;
  /** What the server called it when it was sent; earlier pages kept none. */
  held?: string | null;
  /** Of the model whose captions and vector these are. */
  files: string;
  captions: Record<string, Caption>;
  vector: Float32Array | null;
}

const STORE = "photos";

const asked = <T>(request: IDBRequest<T>): Promise<T> =>
  new Promise((done, fail) => {
    request.onsuccess = () => done(request.result);
    request.onerror = () => fail(request.error);
  });

let place: Promise<IDBDatabase> | null = null;

function database(): Promise<IDBDatabase> {
  place ??= (async () => {
    const opening = indexedDB.open("seetell", 1);
    opening.onupgradeneeded = () => opening.result.createObjectStore(STORE, { keyPath: "key" });
    return asked(opening);
  })();
  return place;
}

/** null where the browser keeps nothing. */
async function within<T>(mode: IDBTransactionMode, work: (store: IDBObjectStore) => IDBRequest<T>): Promise<T | null> {
  try {
    return await asked(work((await database()).transaction(STORE, mode).objectStore(STORE)));
  } catch {
    return null;
  }
}

export const allKept = async (): Promise<Kept[]> =>
  (await within<Kept[]>("readonly", (store) => store.getAll() as IDBRequest<Kept[]>)) ?? [];

/** Whether it is kept now. */
export const keep = async (photo: Kept): Promise<boolean> =>
  (await within("readwrite", (store) => store.put(photo))) !== null;

export const forget = (key: string): Promise<unknown> => within("readwrite", (store) => store.delete(key));
