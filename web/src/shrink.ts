// Photos made as small as the model can use before they are sent, and upright, without what cameras write.

// What is cut out or asked about once more stays sharp at four times what the model sees.
const TIMES = 4;
const QUALITY = 0.92;

/**
 * The photo as it is sent: as it is where it is small, and where this browser cannot read it; the server then
 * says what is wrong with it. modelEdge: the longest edge that the model sees.
 */
export async function shrunk(photo: Blob, modelEdge: number | null, mostBytes: number): Promise<Blob> {
  let picture: ImageBitmap;
  try {
    // The browser would take what there is of it; the server says so.
    if (await isCut(photo)) return photo;
    picture = await createImageBitmap(photo);
  } catch {
    return photo;
  }
  try {
    const longer = Math.max(picture.width, picture.height);
    const scale = Math.min(1, (TIMES * (modelEdge ?? longer)) / longer);
    if (scale === 1 && photo.size <= mostBytes) return photo;
    const canvas = document.createElement("canvas");
    canvas.width = Math.max(1, Math.round(picture.width * scale));
    canvas.height = Math.max(1, Math.round(picture.height * scale));
    const pen = canvas.getContext("2d")!;
    // What shows through is white, as on the server.
    pen.fillStyle = "#fff";
    pen.fillRect(0, 0, canvas.width, canvas.height);
    pen.imageSmoothingQuality = "high";
    pen.drawImage(picture, 0, 0, canvas.width, canvas.height);
    const small = await new Promise<Blob | null>((done) => canvas.toBlob(done, "image/jpeg", QUALITY));
    return small ?? photo;
  } finally {
    picture.close();
  }
}

/** Whether a JPEG ends before its picture does: there is no mark of an end in it. */
async function isCut(photo: Blob): Promise<boolean> {
  const bytes = new Uint8Array(await photo.slice(0, 2).arrayBuffer());
  if (bytes[0] !== 0xff || bytes[1] !== 0xd8) return false;
  const end = new Uint8Array(await photo.slice(-65536).arrayBuffer());
  for (let at = end.length - 2; at >= 0; at--) if (end[at] === 0xff && end[at + 1] === 0xd9) return false;
  return true;
}
