import { useEffect, useRef, useState } from "preact/hooks";
import { ApiError } from "./connection";
import { vector } from "./find";
import { t } from "./language";
import { type Photo } from "./photos";
import { drawHeat, effects, heatMap, hottest, type HeatMap, type Word } from "./why";
import { errorText } from "./work-line";

/** Why the photo fits what is looked for. Keyed by the text: a new one starts anew. */
export function Why({ photo, query }: { photo: Photo; query: string }) {
  const [words, setWords] = useState<Word[] | null>(null);
  const [map, setMap] = useState<HeatMap | null>(null);
  const [looking, setLooking] = useState(false);
  const [failed, setFailed] = useState("");
  const leaving = useRef(new AbortController());
  const vectorOfPhoto = photo.vector.value;
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
    };
  }, [query, photo.id]);

  async function look(): Promise<void> {
    const wanted = vector.value;
    if (wanted?.state !== "done") return;
    setLooking(true);
    setFailed("");
    try {
      setMap(await heatMap(photo.url, wanted.value, leaving.current.signal));
    } catch (error) {
      // Photos that the server reads and this browser does not, as TIFF.
      failWith(error, "unsupported");
    } finally {
      setLooking(false);
    }
  }

  const counted = words?.filter((word) => word.counts) ?? [];
  return (
    <section class="why" aria-label={t().why}>
      <h3>{t().why}</h3>
      {words && (counted.length > 1 ? <Words words={counted} /> : <p class="muted small">{t().whyOneWord}</p>)}
      <button type="button" disabled={looking} onClick={() => (map ? setMap(null) : void look())}>
        {looking ? t().looking : map ? t().whereNot : t().where}
      </button>
      <div aria-live="polite">
        {failed && <p class="error">{failed}</p>}
        {map && <Heat url={photo.url} map={map} />}
      </div>
    </section>
  );
}

function Words({ words }: { words: Word[] }) {
  const most = Math.max(...words.map((word) => Math.abs(word.effect))) || 1;
  return (
    <>
      <p class="muted small">{t().whyWords}</p>
      <ul class="effects">
        {words.map((word) => (
          <li>
            <span>{word.text}</span>
            <meter min={0} max={most} value={Math.max(0, word.effect)} aria-hidden="true" />
            <span class="score">{`${word.effect < 0 ? "−" : "+"}${Math.abs(word.effect).toFixed(2)}`}</span>
          </li>
        ))}
      </ul>
    </>
  );
}

function Heat({ url, map }: { url: string; map: HeatMap }) {
  const canvas = useRef<HTMLCanvasElement>(null);
  useEffect(() => {
    const image = new Image();
    image.onload = () => canvas.current && drawHeat(canvas.current, image, map);
    image.src = url;
  }, [url, map]);
  const [across, down] = hottest(map);
  const said = map.strongest < 0.005 ? t().nowhere : t().whereIs(t().places[down]![across]!);
  return (
    <>
      <canvas ref={canvas} class="heat" role="img" aria-label={said} />
      <p class="muted small">{said}</p>
    </>
  );
}
