import type { ComponentChildren } from "preact";
import { useEffect, useState } from "preact/hooks";
import { abilities, can } from "./connection";
import {
  all,
  best,
  clear,
  fewOfIndex,
  found,
  leftOut,
  like,
  lookFor,
  open,
  remarks,
  search,
  searching,
  text,
  thumbnail,
  unread,
  type Found,
  type Hit,
} from "./find";
import { Cell, move } from "./gallery";
import { t } from "./language";
import { photos, selectedId } from "./photos";
import { Picture } from "./picture";
import { errorText } from "./work-line";

export function SearchBox() {
  return (
    <form class="search" role="search" onSubmit={(event) => event.preventDefault()}>
      <label for="search" class="unseen">
        {t().searchLabel}
      </label>
      <input
        id="search"
        type="search"
        maxLength={4000}
        placeholder={`${t().search}: ${t().searchExample}`}
        autocomplete="off"
        enterkeyhint="search"
        value={text.value}
        onInput={(event) => lookFor(event.currentTarget.value)}
        onKeyDown={(event) => {
          // Not the selected photo's end, too.
          if (event.key !== "Escape") return;
          event.stopPropagation();
          clear();
        }}
      />
      {searching.value && (
        <button type="button" onClick={clear}>
          {t().clear}
        </button>
      )}
    </form>
  );
}

export function Results() {
  const shown = found.value;
  const state = search.value;
  const stop = shown.find((one) => one.own && one.own.id === selectedId.value) ?? shown[0];
  return (
    <section aria-label={t().results} class="results">
      <p role="status" class="about">
        {state?.state === "done" ? outcome(shown.length) : ""} {unread.value ? t().stillReading(unread.value) : ""}
      </p>
      {remarks.value.map((remark) => (
        <p key={remark} role="note" class="about">
          {remark}
        </p>
      ))}
      {state?.state === "failed" && <p class="error">{errorText(state.kind, state.message)}</p>}
      <ul class="cells" onKeyDown={move}>
        {shown.map((one) =>
          one.own ? (
            <Cell key={one.own.id} photo={one.own} stop={one === stop} fit={<Fit found={one} />} />
          ) : (
            <HitCell key={one.photo} hit={one} stop={one === stop} fit={<Fit found={one} />} />
          ),
        )}
      </ul>
      {state?.state === "done" && leftOut.value && (
        <button type="button" onClick={() => (all.value = true)}>
          {shown.length ? t().showAll : t().showNearest}
        </button>
      )}
    </section>
  );
}

function outcome(count: number): string {
  if (like.value) return t().foundSimilar(count, like.value.name);
  if (count) return t().found(count, text.value.trim());
  return photos.value.length || abilities.value?.index ? t().nothingFits(text.value.trim()) : t().nothing;
}

/** How probable it is that it fits; where the model does not say, how similar it is beside the best of those found:
 * the number itself means little across models. */
function Fit({ found }: { found: Found }) {
  const { score, probability } = found;
  const similar = `${t().score} ${score.toFixed(2)}`;
  if (probability === null) {
    return (
      <span class="score" title={similar}>
        <span class="unseen">{similar}</span>
        <meter min={0} max={best.value || 1} value={Math.max(0, score)} aria-hidden="true" />
      </span>
    );
  }
  return (
    <span class="score probable" title={`${t().probability}, ${similar}`}>
      <meter min={0} max={1} value={probability} aria-hidden="true" />
      <span>
        <span class="unseen">{t().probability} </span>
        {Math.round(100 * probability)}%
      </span>
    </span>
  );
}

/** What the server's index holds, for who has not looked for anything yet. */
export function IndexAtFirst() {
  const [few, setFew] = useState<Hit[]>([]);
  useEffect(() => {
    if (can("embed")) fewOfIndex().then(setFew, () => {});
  }, []);
  return (
    <section aria-labelledby="index-title" class="index">
      <h2 id="index-title">{t().inIndex(abilities.value?.index ?? 0)}</h2>
      <ul class="cells" onKeyDown={move}>
        {few.map((hit, place) => (
          <HitCell key={hit.photo} hit={hit} stop={place === 0} />
        ))}
      </ul>
    </section>
  );
}

/** A photo of the index; chosen, it is fetched and becomes one of the page. fit: how well it fits, in results. */
function HitCell({ hit, stop, fit }: { hit: Hit; stop: boolean; fit?: ComponentChildren }) {
  const [url, setUrl] = useState("");
  const [failed, setFailed] = useState("");
  const [opening, setOpening] = useState(false);
  useEffect(() => {
    if (hit.gone) return;
    let here = true;
    thumbnail(hit.photo).then(
      (found) => here && setUrl(found),
      () => here && setUrl("data:,"),
    );
    return () => {
      here = false;
    };
  }, [hit.photo, hit.gone]);
  return (
    <li class={hit.gone ? "cell gone" : "cell"}>
      <button
        type="button"
        class="photo"
        tabIndex={stop ? 0 : -1}
        aria-disabled={hit.gone}
        onClick={() => {
          if (hit.gone) return;
          setFailed("");
          setOpening(true);
          open(hit.photo)
            .catch((error) => setFailed(errorText(error.kind, error.message)))
            .finally(() => setOpening(false));
        }}
      >
        {url ? <Picture key={url} src={url} alt="" /> : <span class="no-picture" />}
        <span class="words">
          {hit.gone && <span>{t().photoGone}</span>}
          {opening ? (
            <span class="muted small">{t().opening}</span>
          ) : (
            fit && !hit.gone && <span class="muted small">{t().ofIndex}</span>
          )}
          {failed && <span class="error">{failed}</span>}
          <span class="name">
            <span class="file" title={hit.photo}>
              {hit.photo.split(/[\\/]/).pop()}
            </span>
            {fit}
          </span>
        </span>
      </button>
    </li>
  );
}
