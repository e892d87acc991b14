// Pictures of documents. Where the server wants a token they are asked for with it, which <img> alone cannot.

import { bytes, hasToken } from "./api.js";
import { el } from "./dom.js";

/** An image of the document with this id, at most `side` pixels wide and high; `alt` is said in its place. */
export function shownImage(id, { side = 256, alt = "", ...attributes } = {}) {
  const image = el("img", { alt, loading: "lazy", decoding: "async", ...attributes });
  const place = `images/${encodeURIComponent(id)}?side=${side}`;
  image.addEventListener("error", () => image.classList.add("broken"), { once: true });
  if (hasToken()) load(image, place);
  else image.src = place;
  return image;
}

async function load(image, place) {
  try {
    image.src = URL.createObjectURL(await bytes(place));
    image.addEventListener("load", () => URL.revokeObjectURL(image.src), { once: true });
  } catch {
    image.classList.add("broken");
  }
}
