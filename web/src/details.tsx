import { useEffect, useRef } from "preact/hooks";
import { CaptionText } from "./caption-text";
import { can } from "./connection";
import { t } from "./language";
import { captionOf, question, remove, retry, selected, type Asked, type Caption as CaptionOf, type Photo } from "./photos";
import { findLike, text, vector } from "./find";
import { Picture } from "./picture";
import { narrow } from "./screen";
import { Why } from "./why-section";
import { WorkLine } from "./work-line";

/** The selected photo: large, with what can be asked of it. On a narrow screen it covers the page. */
export function Details({ close }: { close: () => void }) {
  const photo = selected.value;
  const closer = useRef<HTMLButtonElement>(null);
  const covering = narrow.value && photo !== null;
  useEffect(() => {
    if (covering) closer.current?.focus();
  }, [covering]);
  if (photo === null) {
    return narrow.value ? null : (
      <section class="details none" role="complementary" aria-label={t().selected}>
        <p class="muted">{t().pick}</p>
      </section>
    );
  }
  return (
    <section
      class="details"
      role={covering ? "dialog" : "complementary"}
      aria-modal={covering || undefined}
      aria-label={t().selected}
      key={photo.id}
    >
      <div class="details-head">
        <h2>{photo.name}</h2>
        {can("embed") && (
          <button type="button" onClick={() => {
            findLike(photo);
            if (narrow.value) close();
          }}>
            {t().similar}
          </button>
        )}
        <button type="button" onClick={() => remove(photo)}>
          {t().remove}
        </button>
        <button type="button" ref={closer} onClick={close}>
          {t().close}
        </button>
      </div>
      <Large photo={photo} />
      {text.value.trim() !== "" && vector.value?.state === "done" && photo.vector.value.state === "done" && (
        <Why key={text.value} photo={photo} query={text.value.trim()} />
      )}
      {can("ask") ? <Ask photo={photo} /> : <p class="muted">{t().cannotAsk}</p>}
    </section>
  );
}

function Large({ photo }: { photo: Photo }) {
  const work = captionOf(photo);
  const text = work.state === "done" ? work.value.text : "";
  return (
    <figure>
      <Picture src={photo.url} alt={text || photo.name} />
      {can("caption") && (
        <figcaption aria-live="polite">
          {work.state === "done" ? <Caption caption={work.value} /> : null}
          <WorkLine work={work} working={t().captioning} />
          {work.state === "failed" && (
            <button type="button" onClick={() => retry(photo)}>
              {t().retry}
            </button>
          )}
        </figcaption>
      )}
    </figure>
  );
}

function Caption({ caption }: { caption: CaptionOf }) {
  const sure = caption.confidence === null ? "" : t().sure(percent(caption.confidence));
  return (
    <>
      <CaptionText caption={caption} />
      {caption.unsure && caption.guess !== caption.text && (
        <span class="muted small">
          {t().perhaps} <span lang={caption.language}>{caption.guess}</span>
        </span>
      )}
      {sure && <span class="muted small">{sure}</span>}
    </>
  );
}

function Ask({ photo }: { photo: Photo }) {
  const input = useRef<HTMLInputElement>(null);
  return (
    <section>
      <form
        class="ask"
        onSubmit={(event) => {
          event.preventDefault();
          const text = input.current!.value.trim();
          if (!text) return;
          question(photo, text);
          input.current!.select();
        }}
      >
        <label for="question">{t().question}</label>
        <div class="line">
          <input id="question" ref={input} maxLength={4000} placeholder={t().questionExample} autocomplete="off" enterkeyhint="send" />
          <button type="submit" class="main">
            {t().ask}
          </button>
        </div>
      </form>
      <ul class="answers" aria-live="polite">
        {photo.asked.value.map((asked) => (
          <Told key={asked} asked={asked} photo={photo} />
        ))}
      </ul>
    </section>
  );
}

const percent = (share: number): string => `${Math.round(100 * share)}%`;

function Told({ asked, photo }: { asked: Asked; photo: Photo }) {
  const work = asked.work.value;
  return (
    <li>
      <p class="asked">{asked.question}</p>
      {work.state === "done" ? (
        <>
          <p class="told">
            <strong>{work.value.abstained ? t().notSure(work.value.answer) : work.value.answer}</strong>{" "}
            <span class="muted">{t().sure(percent(work.value.confidence))}</span>
          </p>
          {work.value.alternatives.length > 1 && (
            <p class="muted small">
              {work.value.alternatives.map((one) => `${one.answer} ${percent(one.confidence)}`).join(" · ")}
            </p>
          )}
        </>
      ) : (
        <p>
          <WorkLine work={work} working={t().asking} />
          {work.state === "failed" && (
            <button
              type="button"
              onClick={() => {
                photo.asked.value = photo.asked.value.filter((one) => one !== asked);
                question(photo, asked.question);
              }}
            >
              {t().retry}
            </button>
          )}
        </p>
      )}
    </li>
  );
}
