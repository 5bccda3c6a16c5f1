import { signal } from "@preact/signals";
import { ofFolder, ofTransfer, type Gathered } from "./files";
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
        accept={folder ? undefined : "image/*"}
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
      <p role="status" class="skipped">
        {skipped.value ? t().skipped(skipped.value) : ""}
      </p>
    </section>
  );
}
