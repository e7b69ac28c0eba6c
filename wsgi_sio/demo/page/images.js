// What is done to an image before it is sent: nothing when it is small enough, else it is drawn smaller.

const SENDABLE = new Set(["image/png", "image/jpeg", "image/gif", "image/webp"]);
const SIDES = [2048, 1600, 1200, 800, 480]; // pixels of the longer side, tried in turn

/** The bytes to send for `file`, at most `limit` of them. Throws an Error with a text for the person. */
export async function prepareImage(file, limit) {
  if (SENDABLE.has(file.type) && file.size <= limit) return file.arrayBuffer();
  let bitmap;
  try {
    bitmap = await createImageBitmap(file);
  } catch {
    throw new Error("This file is not an image that the browser can read.");
  }
  for (const side of SIDES) {
    const blob = await drawn(bitmap, Math.min(1, side / Math.max(bitmap.width, bitmap.height)));
    if (blob && blob.size <= limit) return blob.arrayBuffer();
  }
  throw new Error(`This image is too big: ${Math.round(limit / 1000)} kB at most.`);
}

function drawn(bitmap, scale) {
  const canvas = document.createElement("canvas");
  canvas.width = Math.max(1, Math.round(bitmap.width * scale));
  canvas.height = Math.max(1, Math.round(bitmap.height * scale));
  const context = canvas.getContext("2d");
  context.fillStyle = "white"; // JPEG has no transparency
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.drawImage(bitmap, 0, 0, canvas.width, canvas.height);
  return new Promise((resolve) => canvas.toBlob(resolve, "image/jpeg", 0.85));
}
