// What is looked for as a vector, as the server's search makes it (seetell.search.query): a word after a minus
// is not wanted.

const NEGATIVE_WEIGHT = 0.25;
// What keyboards, phones and word processors make of a minus.
const MINUS = "-\u2010\u2011\u2012\u2013\u2212\ufe63\uff0d";
// Opening quotes, and what closes each.
const QUOTES: Record<string, string> = {
  '"': '"',
  "\uff02": "\uff02",
  "\u201c": "\u201d\u201c",
  "\u201d": "\u201d",
  "\u201e": "\u201c\u201d",
  "\u00ab": "\u00bb",
  "\u00bb": "\u00ab",
  "\u300c": "\u300d",
  "\u300e": "\u300f",
};
// Within words these are apostrophes; they are quotes only right behind a minus, up to the end of a word.
const SINGLE_QUOTES: Record<string, string> = { "'": "'", "\u2018": "\u2019", "\u2019": "\u2019" };

export interface Query {
  /** None where only unwanted words are given. */
  wanted: string | null;
  unwanted: string[];
}

const isSpace = (letter: string | undefined): boolean => letter !== undefined && /\s/.test(letter);

export function parseQuery(text: string): Query {
  const unwanted: string[] = [];
  let wanted = "";
  let minus = false;
  for (let place = 0; place < text.length; ) {
    const starts = place === 0 || isSpace(text[place - 1]);
    if (starts && isMinus(text, place)) {
      const [said, end] = afterMinus(text, place + 1);
      minus = true;
      if (said.trim()) unwanted.push(said);
      place = end;
      continue;
    }
    const end = (starts ? closed(text, place, QUOTES) : null) ?? place;
    wanted += text.slice(place, end + 1);
    place = end + 1;
  }
  if (minus) wanted = wanted.split(/\s+/).filter(Boolean).join(" ");
  const bare = wanted.trim();
  if (bare && closed(bare, 0, QUOTES) === bare.length - 1 && bare.slice(1, -1).trim()) wanted = bare.slice(1, -1);
  return { wanted: wanted || null, unwanted };
}

function isMinus(text: string, place: number): boolean {
  const following = text[place + 1];
  return (
    MINUS.includes(text[place]!) &&
    following !== undefined &&
    !MINUS.includes(following) &&
    !isSpace(following) &&
    !/\d/.test(following)
  );
}

/** What a minus before `place` takes away, and where it ends. */
function afterMinus(text: string, place: number): [string, number] {
  if (text[place]! in QUOTES || text[place]! in SINGLE_QUOTES) {
    const end = closed(text, place, { ...QUOTES, ...SINGLE_QUOTES });
    if (end !== null) return [text.slice(place + 1, end), end + 1];
    if (text[place]! in QUOTES) return [text.slice(place + 1), text.length];
  }
  let end = place;
  while (end < text.length && !isSpace(text[end])) end++;
  return [text.slice(place, end), end];
}

/** Where the quote that opens at `place` is closed; null where none opens, or it is left open. */
function closed(text: string, place: number, quotes: Record<string, string>): number | null {
  const closing = quotes[text[place]!];
  if (closing === undefined) return null;
  for (let at = place + 1; at < text.length; at++) {
    const ends = at + 1 === text.length || isSpace(text[at + 1]);
    if (closing.includes(text[at]!) && (ends || !(text[place]! in SINGLE_QUOTES))) return at;
  }
  return null;
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
