import { useEffect, useRef, useState } from "preact/hooks";
import { ApiError } from "./connection";
import { queryOf } from "./find";
import { t } from "./language";
import { type HeatMap, type Photo } from "./photos";
import { drawHeat, effects, heatMap, hottest, type Word } from "./why";
import { errorText } from "./work-line";

/** Why the photo fits what is looked for. Keyed by the text: a new one starts anew. */
export function Why({ photo, query }: { photo: Photo; query: string }) {
  const [words, setWords] = useState<Word[] | null>(null);
  const [looking, setLooking] = useState(false);
  const [failed, setFailed] = useState("");
  const leaving = useRef(new AbortController());
  const vectorOfPhoto = photo.vector.value;
  const map = photo.heat.value;
  /** kind: of what goes wrong in the browser. */
  const failWith = (error: unknown, kind: string) => {
    const failure = error instanceof ApiError ? error : new ApiError(kind, String(error));
    if (failure.kind !== "aborted") setFailed(errorText(failure.kind, failure.message));
  };

  useEffect(() => {
    const mine = (leaving.current = new AbortController());
    // Not while the text is still being written.
    const timer = window.setTimeout(() => {
      if (vectorOfPhoto.state === "done") {
        effects(query, vectorOfPhoto.value, mine.signal).then(setWords, (error) => failWith(error, "browser"));
      }
    }, 300);
    return () => {
      clearTimeout(timer);
      mine.abort();
      photo.heat.value = null;
    };
  }, [query, photo.id]);

  async function look(): Promise<void> {
    const mine = leaving.current.signal;
    setLooking(true);
    setFailed("");
    try {
      const wanted = await queryOf(query, mine);
      if (wanted === null) return;
      const found = await heatMap(photo.url, wanted, mine);
      if (mine.aborted) return;
      photo.heat.value = found;
      document.querySelector(".details figure")?.scrollIntoView({ block: "nearest" });
    } catch (error) {
      // Photos that the server reads and this browser does not, as TIFF.
      failWith(error, "unsupported");
    } finally {
      setLooking(false);
    }
  }

  return (
    <section class="why" aria-label={t().why}>
      <h3>{t().why}</h3>
      {words && <Words words={words} />}
      <button type="button" disabled={looking} onClick={() => (map ? (photo.heat.value = null) : void look())}>
        {looking ? t().looking : map ? t().whereNot : t().where}
      </button>
      <div aria-live="polite">
        {failed && <p class="error">{failed}</p>}
        {map && <p class="muted small">{whereIn(map)}</p>}
      </div>
    </section>
  );
}

function Words({ words }: { words: Word[] }) {
  const most = Math.max(...words.map((word) => Math.abs(word.effect))) || 1;
  return (
    <>
      <p class="muted small">{words.some((word) => !word.unwanted) ? t().whyWords : t().whyOneWord}</p>
      {words.length > 0 && (
        <ul class="effects">
          {words.map((word) => (
            <li class={word.effect < 0 ? "less" : ""}>
              {word.unwanted ? (
                <span>
                  <s>{word.text}</s> <span class="muted small">{t().unwanted}</span>
                </span>
              ) : (
                <span>{word.text}</span>
              )}
              <meter min={0} max={most} value={Math.abs(word.effect)} aria-hidden="true" />
              <span class="score">{signed(word.effect)}</span>
            </li>
          ))}
        </ul>
      )}
    </>
  );
}

function signed(value: number): string {
  const size = Math.abs(value).toFixed(2);
  return Number(size) === 0 ? size : `${value < 0 ? "−" : "+"}${size}`;
}

function whereIn(map: HeatMap): string {
  const [across, down] = hottest(map);
  return map.strongest < 0.005 ? t().nowhere : t().whereIs(t().places[down]![across]!);
}

/** What counts of the photo under it stays as it is, the rest is darkened. */
export function Heat({ url, map }: { url: string; map: HeatMap }) {
  const canvas = useRef<HTMLCanvasElement>(null);
  useEffect(() => {
    const image = new Image();
    image.onload = () => canvas.current && drawHeat(canvas.current, image.naturalWidth, image.naturalHeight, map);
    image.src = url;
  }, [url, map]);
  return <canvas ref={canvas} class="heat" role="img" aria-label={whereIn(map)} />;
}
