import type { ComponentChildren } from "preact";
import { useState } from "preact/hooks";
import { CaptionText } from "./caption-text";
import { abilities, can } from "./connection";
import { copy, download } from "./export";
import { t } from "./language";
import { captionOf, failureOf, keeps, photos, remove, retry, selectedId, type Photo } from "./photos";
import { Picture } from "./picture";
import { WorkLine } from "./work-line";

/** Arrow keys move between the photos: one stop for the tabulator, however many there are. */
export function move(event: KeyboardEvent): void {
  const list = event.currentTarget as HTMLElement;
  const cells = [...list.querySelectorAll<HTMLElement>("button.photo")];
  const at = cells.indexOf(document.activeElement as HTMLElement);
  if (at < 0) return;
  const top = cells[0]!.getBoundingClientRect().top;
  const columns = cells.filter((cell) => cell.getBoundingClientRect().top === top).length || 1;
  const steps: Record<string, number> = {
    ArrowRight: at + 1,
    ArrowLeft: at - 1,
    ArrowDown: at + columns,
    ArrowUp: at - columns,
    Home: 0,
    End: cells.length - 1,
  };
  const to = steps[event.key];
  if (to === undefined) return;
  event.preventDefault();
  cells[Math.max(0, Math.min(cells.length - 1, to))]!.focus();
}

/** The photos in the order they came. */
export function Gallery() {
  return (
    <section aria-labelledby="photos-title">
      <div class="photos-head">
        <h2 id="photos-title">{t().yourPhotos}</h2>
        {can("caption") && <Export />}
      </div>
      <div class="photos-head">
        <p class="muted small">{keeps.value ? t().kept : t().notKept}</p>
        <button type="button" onClick={() => remove(...photos.value)}>
          {t().removeAll}
        </button>
      </div>
      <Cells shown={photos.value} />
    </section>
  );
}

export function Cells({ shown }: { shown: Photo[] }) {
  const stop = shown.find((photo) => photo.id === selectedId.value) ?? shown[0];
  return (
    <ul class="cells" onKeyDown={move}>
      {shown.map((photo) => (
        <Cell key={photo.id} photo={photo} stop={photo === stop} />
      ))}
    </ul>
  );
}

/** A photo of the page. fit: how well it fits what is looked for. */
export function Cell({ photo, stop, fit }: { photo: Photo; stop: boolean; fit?: ComponentChildren }) {
  const work = can("caption") || !abilities.value ? captionOf(photo) : photo.vector.value;
  const failure = failureOf(work);
  const caption = captionOf(photo);
  return (
    <li class={failure ? "cell failed" : "cell"}>
      <button
        type="button"
        class="photo"
        id={`photo-${photo.id}`}
        tabIndex={stop ? 0 : -1}
        aria-current={photo.id === selectedId.value}
        onClick={() => {
          selectedId.value = photo.id;
        }}
        onKeyDown={(event) => {
          if (event.key !== "Delete") return;
          // The keyboard stays among the photos.
          const cell = event.currentTarget.parentElement;
          const beside = cell?.nextElementSibling ?? cell?.previousElementSibling;
          beside?.querySelector<HTMLElement>("button.photo")?.focus();
          remove(photo);
        }}
      >
        <Picture src={photo.url} alt="" lazy />
        <span class="words">
          {caption.state === "done" ? (
            <CaptionText caption={caption.value} />
          ) : (
            <WorkLine work={work} working={t().captioning} />
          )}
          <span class="name">
            <span class="file" title={photo.name}>
              {photo.name}
            </span>
            {fit}
          </span>
        </span>
      </button>
      {failure && (
        <div class="cell-buttons">
          {failure.again && (
            <button type="button" onClick={() => retry(photo)}>
              {t().retry} <span class="unseen">{photo.name}</span>
            </button>
          )}
          <button type="button" onClick={() => remove(photo)}>
            {t().remove} <span class="unseen">{photo.name}</span>
          </button>
        </div>
      )}
    </li>
  );
}

/** The captions, to be taken elsewhere. */
function Export() {
  const [copied, setCopied] = useState<boolean | null>(null);
  return (
    <div class="export" role="group" aria-label={t().captions}>
      <button type="button" onClick={() => void copy().then(setCopied)}>
        {t().copy}
      </button>
      <button type="button" onClick={() => download("csv")}>
        {t().save("CSV")}
      </button>
      <button type="button" onClick={() => download("json")}>
        {t().save("JSON")}
      </button>
      <span role="status" class={copied === null ? "unseen" : "muted small"}>
        {copied === null ? "" : copied ? t().copied : t().notCopied}
      </span>
    </div>
  );
}
