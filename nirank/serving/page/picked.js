// Pictures that were given to search with: read, made smaller where they are too large to send, and kept for this tab.

import { keep, kept } from "./kept.js";

/** Bytes of a picture as it is sent; the server takes 8 MB with all around it, and base64 needs 4 bytes for 3. */
const LARGEST = 5_500_000;
/** Pixels of the longer side of what is made smaller. */
const SIDE = 2048;

/** Reads a file and keeps the picture; resolves to its name in the address. Raises an Error that says what is wrong. */
export async function read(file) {
  if (!file.type.startsWith("image/"))
    throw new Error(`“${file.name}” is no picture: a search takes PNG, JPEG, WebP and the like.`);
  const data = await asData(file.size > LARGEST ? await smaller(file) : file);
  const name = hash(data);
  keep(`picture-${name}`, data, "sessionStorage");
  return name;
}

/** The picture of a name in the address as a data URI, or null: an address does not take a picture along. */
export const pictureOf = (name) => kept(`picture-${name}`, "sessionStorage");

function asData(blob) {
  return new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => resolve(reader.result);
    reader.onerror = () => reject(new Error("The picture cannot be read from this computer."));
    reader.readAsDataURL(blob);
  });
}

async function smaller(file) {
  const bitmap = await createImageBitmap(file).catch(() => {
    throw new Error(`“${file.name}” is larger than the server takes, and this browser cannot make it smaller.`);
  });
  const scale = Math.min(1, SIDE / Math.max(bitmap.width, bitmap.height));
  const canvas = document.createElement("canvas");
  canvas.width = Math.round(bitmap.width * scale);
  canvas.height = Math.round(bitmap.height * scale);
  canvas.getContext("2d").drawImage(bitmap, 0, 0, canvas.width, canvas.height);
  return new Promise((resolve) => canvas.toBlob(resolve, "image/jpeg", 0.92));
}

/** FNV-1a over the text, in eight hexadecimal digits: a name, no secret. */
function hash(text) {
  let value = 0x811c9dc5;
  for (let place = 0; place < text.length; place += 1) value = Math.imul(value ^ text.charCodeAt(place), 0x01000193);
  return (value >>> 0).toString(16).padStart(8, "0");
}
