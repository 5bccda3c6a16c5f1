import { signal } from "@preact/signals";
import { useEffect, useState } from "preact/hooks";
import { abilities } from "./connection";
import { ofFolder, ofTransfer, type Gathered } from "./files";
import { openSample, sampleThumbnail } from "./find";
import { t } from "./language";
import { add } from "./photos";

const skipped = signal(0);

function take(gathered: Gathered): void {
  skipped.value = gathered.skipped;
  add(gathered.photos);
}

export async function takeDrop(transfer: DataTransfer): Promise<void> {
  take(await ofTransfer(transfer));
}

function FileButton({ label, folder = false, main = false }: { label: string; folder?: boolean; main?: boolean }) {
  return (
    <label class={main ? "button main" : "button"}>
      {label}
      <input
        type="file"
        class="unseen"
        multiple
        accept={folder ? undefined : "image/*,.heic,.heif,.hif,.jfif"}
        {...(folder ? { webkitdirectory: true } : {})}
        onChange={(event) => {
          const files = [...(event.currentTarget.files ?? [])];
          take(folder ? ofFolder(files) : { photos: files, skipped: 0 });
          event.currentTarget.value = ""; // the same file may be chosen again
        }}
      />
    </label>
  );
}

/** Photos to try it with, for who has none at hand. */
function Samples({ names }: { names: string[] }) {
  return (
    <div class="samples" role="group" aria-label={t().samples}>
      <p class="muted">{t().samples}</p>
      {names.map((name) => (
        <Sample key={name} name={name} />
      ))}
    </div>
  );
}

function Sample({ name }: { name: string }) {
  const [url, setUrl] = useState("");
  useEffect(() => {
    sampleThumbnail(name).then(setUrl, () => {});
  }, [name]);
  return (
    <button type="button" aria-label={name.replace(/\.\w+$/, "")} onClick={() => void openSample(name).catch(() => {})}>
      {url && <img src={url} alt="" />}
    </button>
  );
}

/** large: the whole page is the invitation, as long as there is no photo. */
export function AddPhotos({ large }: { large: boolean }) {
  return (
    <section class={large ? "add large" : "add"} aria-label={t().add}>
      {large && (
        <>
          <p class="invitation">{t().drop}</p>
          <p class="or">{t().dropOr}</p>
        </>
      )}
      <div class="buttons">
        <FileButton label={large ? t().choose : t().add} main />
        <FileButton label={large ? t().chooseFolder : t().addFolder} folder />
      </div>
      {large && <p class="tagline">{t().tagline}</p>}
      {large && (abilities.value?.samples.length ?? 0) > 0 && <Samples names={abilities.value!.samples} />}
      <p role="status" class="skipped">
        {skipped.value ? t().skipped(skipped.value) : ""}
      </p>
    </section>
  );
}
