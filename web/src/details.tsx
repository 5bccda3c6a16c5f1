import { useEffect, useRef, useState } from "preact/hooks";
import { CaptionText } from "./caption-text";
import { abilities, can } from "./connection";
import { language, t } from "./language";
import { captionOf, question, remove, retry, selected, type Asked, type Caption as CaptionOf, type Photo } from "./photos";
import { findLike, text } from "./find";
import { Picture } from "./picture";
import { narrow } from "./screen";
import { Heat, Why } from "./why-section";
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
      {text.value.trim() !== "" && photo.vector.value.state === "done" && (
        <Why key={text.value} photo={photo} query={text.value.trim()} />
      )}
      {can("ask") ? <Ask photo={photo} /> : <p class="muted">{t().cannotAsk}</p>}
    </section>
  );
}

function Large({ photo }: { photo: Photo }) {
  const work = captionOf(photo);
  const map = photo.heat.value;
  const text = work.state === "done" ? work.value.text : "";
  return (
    <figure>
      <div class="large">
        <Picture src={photo.url} alt={text || photo.name} over={map && <Heat url={photo.url} map={map} />} />
      </div>
      {can("caption") && (
        <figcaption aria-live="polite">
          {work.state === "done" ? <Caption caption={work.value} /> : null}
          <WorkLine work={work} working={t().captioning} />
          {work.state === "failed" && work.again && (
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

type Choice = "any" | "yesno" | "these";

/** The answers to choose from, in the question's language; null for any. */
function answersTo(question: string, choice: Choice, these: string): string[] | null {
  if (choice === "any") return null;
  if (choice === "yesno") {
    if (!isChinese(question)) return ["yes", "no"];
    return question.includes("有") ? ["有", "没有"] : ["是", "不是"];
  }
  const given = these.split(/[,，、;；\n]/).map((one) => one.trim());
  return [...new Set(given.filter(Boolean))];
}

const isChinese = (text: string): boolean => /[\u3400-\u9fff]/.test(text);

/** The model was taught other languages only; where it does not say which, nobody knows. */
const readsChinese = (): boolean => !abilities.value?.languages.length || abilities.value.languages.includes("zh");

function Ask({ photo }: { photo: Photo }) {
  const input = useRef<HTMLInputElement>(null);
  const these = useRef<HTMLInputElement>(null);
  const [choice, setChoice] = useState<Choice>("any");
  const [wrong, setWrong] = useState("");
  const chinese = language.value === "zh" && readsChinese();
  return (
    <section>
      <form
        class="ask"
        onSubmit={(event) => {
          event.preventDefault();
          const text = input.current!.value.trim();
          if (!text) return;
          const answers = answersTo(text, choice, these.current?.value ?? "");
          const foreign = isChinese(text + (answers ?? "")) && !readsChinese();
          setWrong(foreign ? t().noChinese(abilities.value?.model ?? "") : answers?.length === 0 ? t().noAnswers : "");
          if (foreign || answers?.length === 0) return;
          question(photo, text, answers);
          input.current!.select();
        }}
      >
        <div class="ask-head">
          <label for="question">{t().question}</label>
          <select
            aria-label={t().answer}
            value={choice}
            onChange={(event) => setChoice(event.currentTarget.value as Choice)}
          >
            {(Object.entries(t().choices) as [Choice, string][]).map(([name, label]) => (
              <option value={name}>{label}</option>
            ))}
          </select>
        </div>
        <div class="line">
          <input
            id="question"
            ref={input}
            maxLength={4000}
            placeholder={chinese ? t().questionExample : "what is in the picture?"}
            autocomplete="off"
            enterkeyhint="send"
          />
          <button type="submit" class="main">
            {t().ask}
          </button>
        </div>
        {choice === "these" && (
          <input
            ref={these}
            class="these"
            aria-label={t().choices.these}
            maxLength={4000}
            placeholder={t().theseExample}
            autocomplete="off"
            enterkeyhint="send"
          />
        )}
        <p role="alert" class="error">
          {wrong}
        </p>
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
      <p class="asked">
        {asked.question}
        {asked.answers && ` (${asked.answers.join(t().comma)})`}
      </p>
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
          {work.state === "failed" && work.again && (
            <button
              type="button"
              onClick={() => {
                photo.asked.value = photo.asked.value.filter((one) => one !== asked);
                question(photo, asked.question, asked.answers);
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
