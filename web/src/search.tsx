import { useEffect, useState } from "preact/hooks";
import { abilities, can } from "./connection";
import {
  clear,
  fewOfIndex,
  found,
  hasIndex,
  hits,
  like,
  open,
  remarks,
  searching,
  text,
  thumbnail,
  unread,
  vector,
  type Hit,
} from "./find";
import { Cells, move, Score } from "./gallery";
import { t } from "./language";
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
        onInput={(event) => {
          like.value = null;
          text.value = event.currentTarget.value;
        }}
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
  const state = vector.value;
  const count = shown.length + hits.value.length;
  const about = like.value ? t().foundSimilar(count, like.value.name) : t().found(count, text.value.trim());
  const said = state?.state !== "done" ? "" : count ? about : t().nothing;
  return (
    <section aria-label={t().results} class="results">
      <p role="status" class="about">
        {said} {unread.value ? t().stillReading(unread.value) : ""}
      </p>
      {remarks.value.map((remark) => (
        <p key={remark} role="note" class="about">
          {remark}
        </p>
      ))}
      {state?.state === "failed" && <p class="error">{errorText(state.kind, state.message)}</p>}
      {hasIndex.value && shown.length > 0 && <h2>{t().onPage}</h2>}
      <Cells shown={shown} />
      {hits.value.length > 0 && (
        <>
          <h2>{t().inIndex(abilities.value?.index ?? 0)}</h2>
          <ul class="cells" onKeyDown={move}>
            {hits.value.map((hit, place) => (
              <HitCell key={hit.photo} hit={hit} stop={place === 0} />
            ))}
          </ul>
        </>
      )}
    </section>
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
          <HitCell key={hit.photo} hit={hit} stop={place === 0} bare />
        ))}
      </ul>
    </section>
  );
}

/** A photo of the index; chosen, it is fetched and becomes one of the page. bare: without how well it fits. */
function HitCell({ hit, stop, bare = false }: { hit: Hit; stop: boolean; bare?: boolean }) {
  const [url, setUrl] = useState("");
  const [failed, setFailed] = useState("");
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
          open(hit.photo).catch((error) => setFailed(errorText(error.kind, error.message)));
        }}
      >
        {url ? <Picture key={url} src={url} alt="" /> : <span class="no-picture" />}
        <span class="words">
          {hit.gone && <span>{t().photoGone}</span>}
          {failed && <span class="error">{failed}</span>}
          <span class="name">
            <span class="file" title={hit.photo}>
              {hit.photo.split(/[\\/]/).pop()}
            </span>
            {!bare && <Score value={hit.score} />}
          </span>
        </span>
      </button>
    </li>
  );
}
