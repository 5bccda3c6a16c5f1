// Why a photo matches a text: what each word adds, and which parts of the photo count.
import { textVectors, dot } from "./find";
import { language } from "./language";
import { vectors } from "./photos";

export interface Word {
  text: string;
  /** By how much the similarity falls without the word. */
  effect: number;
  /** Punctuation and blanks, which are not looked at. */
  counts: boolean;
}

const MOST_WORDS = 24;

export function wordsOf(text: string): Word[] {
  const cutter = new Intl.Segmenter(language.value === "zh" ? "zh" : "en", { granularity: "word" });
  return [...cutter.segment(text)].map((part) => ({ text: part.segment, effect: 0, counts: part.isWordLike ?? false }));
}

/** Each word's effect on the similarity of ``text`` and the photo's vector: with it, less without it. */
export async function effects(text: string, photo: Float32Array, signal: AbortSignal): Promise<Word[]> {
  const words = wordsOf(text);
  const places = words.flatMap((word, i) => (word.counts ? [i] : [])).slice(0, MOST_WORDS);
  if (places.length < 2) return words;
  const without = places.map((place) =>
    words
      .filter((_, i) => i !== place)
      .map((word) => word.text)
      .join("")
      .replace(/\s+/g, " ")
      .trim(),
  );
  const [whole, ...rest] = await textVectors([text, ...without], signal);
  const score = dot(whole!, photo);
  places.forEach((place, i) => {
    words[place]!.effect = score - dot(rest[i]!, photo);
  });
  return words;
}

/** values: float[cells * cells], row by row, from 0 to 1; strongest: the similarity lost at the best place. */
export interface HeatMap {
  cells: number;
  values: number[];
  strongest: number;
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

/** Draw the photo with its heat over it. */
export function drawHeat(canvas: HTMLCanvasElement, image: HTMLImageElement, map: HeatMap): void {
  const scale = Math.min(1, 1200 / Math.max(image.naturalWidth, image.naturalHeight));
  const width = (canvas.width = Math.round(image.naturalWidth * scale));
  const height = (canvas.height = Math.round(image.naturalHeight * scale));
  const small = document.createElement("canvas");
  small.width = small.height = map.cells;
  const dots = new ImageData(map.cells, map.cells);
  map.values.forEach((value, i) => dots.data.set([10, 12, 14, Math.round(195 * (1 - value))], 4 * i));
  small.getContext("2d")!.putImageData(dots, 0, 0);
  const pen = canvas.getContext("2d")!;
  pen.drawImage(image, 0, 0, width, height);
  // What counts stays light, the rest is darkened; enlarging the few cells blends them.
  pen.imageSmoothingQuality = "high";
  pen.drawImage(small, 0, 0, width, height);
}

/** Where the heat is, in words: 0, 1 or 2 across and down. */
export function hottest(map: HeatMap): [number, number] {
  const at = map.values.indexOf(Math.max(...map.values));
  const third = (place: number): number => Math.min(2, Math.floor((3 * (place + 0.5)) / map.cells));
  return [third(at % map.cells), third(Math.floor(at / map.cells))];
}
