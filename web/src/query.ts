// What is looked for as a vector, as the server's search makes it: a word after a minus is not wanted.

const NEGATIVE_WEIGHT = 0.25;
const NEGATIVE = /(?:^|(?<=\s))-(?:"([^"]+)"|([^\s"-]\S*))/g;

export interface Query {
  /** None where only unwanted words are given. */
  wanted: string | null;
  unwanted: string[];
}

export function parseQuery(text: string): Query {
  const unwanted = [...text.matchAll(NEGATIVE)].map((found) => (found[1] ?? found[2])!);
  const wanted = text.replace(NEGATIVE, " ").split(/\s+/).filter(Boolean).join(" ");
  return { wanted: wanted || null, unwanted };
}

const unit = (v: Float32Array): Float32Array => {
  const length = Math.hypot(...v) || 1;
  return v.map((x) => x / length);
};

/** Unit length; ``unwanted`` may be empty. */
export function queryVector(wanted: Float32Array, unwanted: Float32Array[]): Float32Array {
  if (!unwanted.length) return wanted;
  const away = unit(wanted.map((_, i) => unwanted.reduce((sum, one) => sum + one[i]!, 0)));
  return unit(wanted.map((x, i) => x - NEGATIVE_WEIGHT * away[i]!));
}
