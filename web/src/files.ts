// From what people drop, paste or choose to files.

/** skipped: files of a folder that are no photos. */
export interface Gathered {
  photos: File[];
  skipped: number;
}

// As the server lists folders (seetell.media.formats).
const PHOTO =
  /\.(jpe?g|jpe|jfif|pjpeg|pjp|mpo|a?png|gif|webp|tiff?|bmp|dib|p[pgbn]m|jp2|j2[kc]|jp[xfcs]|avifs?|ico|qoi|insp|hei[cf]s?|hif|jxl|dng)$/i;

const mayBePhoto = (file: File): boolean => file.type.startsWith("image/") || PHOTO.test(file.name);

export function ofFolder(files: File[]): Gathered {
  const photos = files.filter(mayBePhoto);
  return { photos, skipped: files.length - photos.length };
}

/** Files as dropped, and those of folders, however deep. */
export async function ofTransfer(transfer: DataTransfer): Promise<Gathered> {
  // The entries have to be taken before the first await: the transfer is emptied after the event.
  const entries = [...transfer.items]
    .filter((item) => item.kind === "file")
    .map((item) => item.webkitGetAsEntry?.() ?? null);
  const plain = [...transfer.files];
  if (!entries.some((entry) => entry?.isDirectory)) return { photos: plain, skipped: 0 };
  const gathered: Gathered = { photos: [], skipped: 0 };
  for (const entry of entries) if (entry) await gather(entry, gathered, true);
  return gathered;
}

async function gather(entry: FileSystemEntry, into: Gathered, chosen: boolean): Promise<void> {
  if (entry.isFile) {
    const file = await new Promise<File>((done, fail) => (entry as FileSystemFileEntry).file(done, fail));
    if (chosen || mayBePhoto(file)) into.photos.push(file);
    else into.skipped++;
    return;
  }
  const reader = (entry as FileSystemDirectoryEntry).createReader();
  for (;;) {
    // A hundred entries at a time, and then none.
    const some = await new Promise<FileSystemEntry[]>((done, fail) => reader.readEntries(done, fail));
    if (!some.length) return;
    for (const one of some) await gather(one, into, false);
  }
}
