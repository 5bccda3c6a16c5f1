// Why a photo matches a text: what each word adds, and which parts of the photo count.
import { textVectors, dot } from "./find";
import { vectors, type HeatMap } from "./photos";
import { parseQuery, queryVector } from "./query";

export interface Word {
  text: string;
  /** By how much the similarity falls without the word. */
  effect: number;
  unwanted: boolean;
}

const MOST_WORDS = 24;

// Words that say nothing of a photo by themselves.
const STOP = new Set(
  (
    "a an the and or of in on at to with by for from as into is are was were be been being am do does it its this " +
    "that these those there some any i my me we our you your he his him she her they their them " +
    "的 了 着 过 地 得 和 与 及 或 跟 在 是 有 里 中 上 也 都 很 这 那 这个 那个 这些 那些 我 我的 你 他 她 它 们 " +
    "一 个 只 条 张 位 名 把 被 给 从 对 于"
  ).split(" "),
);
const MEASURED = /^[一两几这那][个只条张位名辆把匹头件座棵朵群本台艘架块]$/;

export const isStop = (word: string): boolean => STOP.has(word.toLowerCase()) || MEASURED.test(word);

interface Piece {
  text: string;
  /** Not punctuation, a blank or a stop word. */
  counts: boolean;
}

function piecesOf(text: string): Piece[] {
  const chinese = /[\u3400-\u9fff]/.test(text);
  const cutter = new Intl.Segmenter(chinese ? "zh" : "en", { granularity: "word" });
  return [...cutter.segment(text)].map(({ segment, isWordLike }) => ({
    text: segment,
    counts: (isWordLike ?? false) && !isStop(segment),
  }));
}

/**
 * What each word adds to the similarity of ``text`` and the photo's vector: with it, less without it. Stop words
 * are left out; unwanted ones come last. Without others beside it a word has nothing to be compared with.
 */
export async function effects(text: string, photo: Float32Array, signal: AbortSignal): Promise<Word[]> {
  const query = parseQuery(text);
  if (query.wanted === null) return [];
  const pieces = piecesOf(query.wanted);
  const counted = pieces.flatMap((piece, i) => (piece.counts ? [i] : [])).slice(0, MOST_WORDS);
  const places = counted.length > 1 ? counted : [];
  const without = places.map((place) =>
    pieces
      .filter((_, i) => i !== place)
      .map((piece) => piece.text)
      .join("")
      .replace(/\s+/g, " ")
      .trim(),
  );
  const all = await textVectors([query.wanted, ...without, ...query.unwanted], signal);
  const whole = all[0]!;
  const away = all.slice(1 + without.length);
  const score = dot(queryVector(whole, away), photo);
  return [
    ...places.map((place, i) => ({
      text: pieces[place]!.text,
      effect: score - dot(queryVector(all[1 + i]!, away), photo),
      unwanted: false,
    })),
    ...query.unwanted.map((word, i) => ({
      text: word,
      effect: score - dot(queryVector(whole, away.filter((_, k) => k !== i)), photo),
      unwanted: true,
    })),
  ];
}

const CELLS = 7;
const EDGE = 256;

/**
 * Which parts of a photo count for a text: each is covered with the photo's mean colour, and what the
 * similarity loses is its heat (occlusion, Zeiler and Fergus 2014). One request of 50 small photos.
 */
export async function heatMap(url: string, query: Float32Array, signal: AbortSignal): Promise<HeatMap> {
  const image = new Image();
  image.src = url;
  await image.decode();
  const scale = EDGE / Math.max(image.naturalWidth, image.naturalHeight);
  const canvas = document.createElement("canvas");
  const width = (canvas.width = Math.max(CELLS, Math.round(image.naturalWidth * scale)));
  const height = (canvas.height = Math.max(CELLS, Math.round(image.naturalHeight * scale)));
  const pen = canvas.getContext("2d", { willReadFrequently: true })!;
  pen.drawImage(image, 0, 0, width, height);
  const mean = meanColour(pen.getImageData(0, 0, width, height).data);
  const seen = [canvas.toDataURL("image/jpeg", 0.9)];
  const [across, down] = [width / CELLS, height / CELLS];
  for (let cell = 0; cell < CELLS * CELLS; cell++) {
    pen.drawImage(image, 0, 0, width, height);
    pen.fillStyle = mean;
    // Twice as large as a cell: a thing half covered may still be recognised.
    pen.fillRect(((cell % CELLS) - 0.5) * across, (Math.floor(cell / CELLS) - 0.5) * down, 2 * across, 2 * down);
    seen.push(canvas.toDataURL("image/jpeg", 0.9));
  }
  const [whole, ...covered] = await vectors(seen, "image", signal);
  const score = dot(whole!, query);
  const lost = covered.map((one) => Math.max(0, score - dot(one, query)));
  const strongest = Math.max(...lost);
  return { cells: CELLS, values: lost.map((one) => (strongest > 0 ? one / strongest : 0)), strongest };
}

function meanColour(data: Uint8ClampedArray): string {
  const sums = [0, 0, 0];
  for (let i = 0; i < data.length; i += 4) for (let c = 0; c < 3; c++) sums[c]! += data[i + c]!;
  return `rgb(${sums.map((sum) => Math.round((4 * sum) / data.length)).join(" ")})`;
}

/** Draw what lies over a photo of this shape: nothing where it counts, and darker the less it does. */
export function drawHeat(canvas: HTMLCanvasElement, width: number, height: number, map: HeatMap): void {
  const scale = 600 / Math.max(width, height);
  canvas.width = Math.max(1, Math.round(width * scale));
  canvas.height = Math.max(1, Math.round(height * scale));
  const small = document.createElement("canvas");
  small.width = small.height = map.cells;
  const dots = new ImageData(map.cells, map.cells);
  map.values.forEach((value, i) => dots.data.set([10, 12, 14, Math.round(195 * (1 - value))], 4 * i));
  small.getContext("2d")!.putImageData(dots, 0, 0);
  const pen = canvas.getContext("2d")!;
  // Enlarging the few cells blends them.
  pen.imageSmoothingQuality = "high";
  pen.drawImage(small, 0, 0, canvas.width, canvas.height);
}

/** Where the heat is, in words: 0, 1 or 2 across and down. */
export function hottest(map: HeatMap): [number, number] {
  const at = map.values.indexOf(Math.max(...map.values));
  const third = (place: number): number => Math.min(2, Math.floor((3 * (place + 0.5)) / map.cells));
  return [third(at % map.cells), third(Math.floor(at / map.cells))];
}
