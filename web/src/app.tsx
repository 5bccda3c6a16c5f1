import { effect, signal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import { AddPhotos, takeDrop } from "./add-photos";
import { abilities, keyRefused, refusedWith, server, useKey } from "./connection";
import { Details } from "./details";
import { Gallery } from "./gallery";
import { choose, language, languages, nameOf, t } from "./language";
import { remember, remembered } from "./memory";
import { captionOf, failureOf, photos, restored, selected, selectedId } from "./photos";
import { hasIndex, mayFind, searching } from "./find";
import { IndexAtFirst, Results, SearchBox } from "./search";
import { narrow } from "./screen";

type Theme = "auto" | "light" | "dark";
const theme = signal<Theme>((remembered("theme") as Theme | null) ?? "auto");
effect(() => {
  document.documentElement.dataset.theme = theme.value;
});

const dragging = signal(false);

export function App() {
  useEffect(() => {
    const over = (event: DragEvent) => {
      event.preventDefault();
      dragging.value = true;
    };
    const leave = (event: DragEvent) => {
      if (event.relatedTarget === null) dragging.value = false;
    };
    const drop = (event: DragEvent) => {
      event.preventDefault();
      dragging.value = false;
      if (event.dataTransfer) void takeDrop(event.dataTransfer);
    };
    const paste = (event: ClipboardEvent) => {
      if (event.clipboardData?.files.length) void takeDrop(event.clipboardData);
    };
    const keys = (event: KeyboardEvent) => {
      if (event.key === "Escape" && selectedId.value !== null) closeDetails();
      // As on many pages; not where a slash is being written.
      if (event.key === "/" && !(event.target instanceof HTMLInputElement)) {
        event.preventDefault();
        document.getElementById("search")?.focus();
      }
    };
    document.addEventListener("dragover", over);
    document.addEventListener("dragleave", leave);
    document.addEventListener("drop", drop);
    document.addEventListener("paste", paste);
    document.addEventListener("keydown", keys);
  }, []);

  const empty = photos.value.length === 0;
  const covered = narrow.value && selected.value !== null;
  return (
    <>
      <Header inert={covered} />
      <Banner />
      {server.value === "key" ? (
        <KeyForm />
      ) : (
        <div class={empty ? "room empty" : "room"} key="room">
          <main inert={covered}>
            {mayFind.value && <SearchBox />}
            {searching.value && mayFind.value ? <Results /> : null}
            {restored.value && <AddPhotos large={empty && !searching.value} />}
            {empty && hasIndex.value && !searching.value && <IndexAtFirst />}
            {photos.value.length > 0 && !searching.value && <Gallery />}
          </main>
          {photos.value.length > 0 && <Details close={closeDetails} />}
        </div>
      )}
      <Progress />
      {dragging.value && (
        <div class="dropping" aria-hidden="true">
          {t().dropNow}
        </div>
      )}
    </>
  );
}

function closeDetails(): void {
  const id = selectedId.value;
  selectedId.value = null;
  // Where the keyboard was before.
  requestAnimationFrame(() => document.getElementById(`photo-${id}`)?.focus());
}

function Header({ inert }: { inert: boolean }) {
  const themes = Object.entries(t().themes) as [Theme, string][];
  return (
    <header inert={inert}>
      <h1>seetell</h1>
      <p class="model">{abilities.value?.model}</p>
      <label>
        <span class="unseen">{t().theme}</span>
        <select
          value={theme.value}
          onChange={(event) => {
            theme.value = event.currentTarget.value as Theme;
            remember("theme", theme.value);
          }}
        >
          {themes.map(([name, label]) => (
            <option value={name}>{label}</option>
          ))}
        </select>
      </label>
      <div class="languages" role="group" aria-label={t().language}>
        {languages.map((one) => (
          <button
            type="button"
            lang={one === "zh" ? "zh-CN" : "en"}
            aria-pressed={language.value === one}
            onClick={() => choose(one)}
          >
            {nameOf(one)}
          </button>
        ))}
      </div>
    </header>
  );
}

function Banner() {
  const said = {
    starting: t().starting,
    gone: t().gone,
    failed: t().brokenServer,
    refused: t().refused(refusedWith.value),
    ready: "",
    key: "",
  };
  const text = said[server.value];
  return (
    <div role="alert" class={text ? `banner ${server.value}` : "unseen"}>
      {text}
    </div>
  );
}

function KeyForm() {
  return (
    <main class="key">
      <form
        class="card"
        onSubmit={(event) => {
          event.preventDefault();
          useKey(String(new FormData(event.currentTarget).get("key") ?? ""));
        }}
      >
        <h2>{t().keyTitle}</h2>
        <label for="key">{t().key}</label>
        <input
          id="key"
          name="key"
          type="password"
          autocomplete="off"
          required
          autofocus
          aria-invalid={keyRefused.value}
          aria-describedby="key-wrong"
        />
        <p id="key-wrong" role="alert" class="error">
          {keyRefused.value ? t().keyWrong : ""}
        </p>
        <button type="submit" class="main">
          {t().keyGo}
        </button>
      </form>
    </main>
  );
}

/** Spoken as it changes, and seen at the foot of the page. */
function Progress() {
  const works = photos.value.map(captionOf);
  const done = works.filter((work) => work.state === "done").length;
  const failed = works.filter(failureOf).length;
  const parts = works.length && abilities.value?.tasks.includes("caption") ? [t().progress(done, works.length)] : [];
  if (failed) parts.push(t().failedCount(failed));
  return (
    <footer>
      <p role="status" aria-live="polite">
        {parts.join(" · ")}
      </p>
    </footer>
  );
}
