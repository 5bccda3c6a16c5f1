// The captions of the page as a file, or copied.
import { captionOf, failureOf, photos } from "./photos";

const COLUMNS = ["photo", "language", "text", "confidence", "unsure", "guess", "error"] as const;

type Row = Record<(typeof COLUMNS)[number], string | number | boolean | null>;

function rows(): Row[] {
  return photos.value.flatMap((photo): Row[] => {
    const work = captionOf(photo);
    if (work.state === "done") {
      const { language, text, confidence, unsure, guess } = work.value;
      return [{ photo: photo.name, language, text, confidence, unsure, guess, error: null }];
    }
    const failure = failureOf(work);
    if (!failure) return [];
    const none = { language: null, text: null, confidence: null, unsure: null, guess: null };
    return [{ photo: photo.name, ...none, error: failure.kind }];
  });
}

/** A field of a CSV. What a spreadsheet would take for a formula has an apostrophe before it. */
function cell(value: Row[keyof Row]): string {
  if (value === null) return "";
  const text = typeof value === "string" && /^[=+\-@\t\r]/.test(value) ? `'${value}` : String(value);
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

// Without a mark at its beginning, spreadsheets take a file of UTF-8 for one of the system's old encoding.
const csv = (): string =>
  `\ufeff${[COLUMNS, ...rows().map((row) => COLUMNS.map((name) => cell(row[name])))].map((line) => `${line.join(",")}\r\n`).join("")}`;

export function download(kind: "csv" | "json"): void {
  const text = kind === "csv" ? csv() : `${JSON.stringify(rows(), null, 1)}\n`;
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([text], { type: kind === "csv" ? "text/csv" : "application/json" }));
  link.download = `captions.${kind}`;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

/** A line for each photo, its name and its caption with a tab between. Whether it went well. */
export async function copy(): Promise<boolean> {
  const text = rows()
    .filter((row) => row.text !== null)
    .map((row) => `${row.photo}\t${row.text}`)
    .join("\n");
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    // Where the page does not come over HTTPS or from this machine, browsers have the old way only.
    const area = document.createElement("textarea");
    area.value = text;
    document.body.append(area);
    area.select();
    const done = document.execCommand("copy");
    area.remove();
    return done;
  }
}
