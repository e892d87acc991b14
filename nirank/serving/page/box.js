// The search box: words, or a picture that was chosen, dropped or pasted.

import { go } from "./address.js";
import { el, put } from "./dom.js";
import { shownImage } from "./pictures.js";
import { notice } from "./notices.js";
import { pictureOf, read } from "./picked.js";
import { forget } from "./search.js";

const form = document.getElementById("form");
const input = document.getElementById("query");
const file = document.getElementById("file");
const picked = document.getElementById("picked");
const clear = document.getElementById("clear");
const droppable = document.getElementById("droppable");

/** Readies the box, once. */
export function startBox(about) {
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    submit();
  });
  input.addEventListener("input", () => {
    clear.hidden = !input.value;
  });
  input.addEventListener("keydown", leave);
  clear.addEventListener("click", () => {
    input.value = "";
    clear.hidden = true;
    input.focus();
  });
  if (about.images) startPictures();
}

/** Shows what the address says in the box. */
export function showBox(about, state) {
  input.value = state.q ?? "";
  input.placeholder =
    state.image || state.like
      ? "Search with words instead"
      : `Search ${about.documents.toLocaleString("en")} documents`;
  clear.hidden = !input.value;
  picked.hidden = !(state.image || state.like);
  if (state.image)
    put(picked, chip("your picture", el("img", { src: pictureOf(state.image) ?? "page/icon.svg", alt: "" })));
  else if (state.like) put(picked, chip(`like ${state.like}`, about.images && shownImage(state.like, { side: 64 })));
  else put(picked);
}

function chip(text, image) {
  const away = el(
    "button",
    {
      type: "button",
      class: "icon",
      "aria-label": `Search without: ${text}`,
      onclick: () => go({ image: null, like: null, offset: null, why: null }),
    },
    "×",
  );
  return [image, el("span", {}, text), away];
}

function submit() {
  const q = input.value.trim();
  if (!q) return;
  input.blur();
  forget();
  go({ view: null, q, like: null, image: null, query: null, offset: null, why: null, system: null });
}

function leave(event) {
  if (event.key === "Escape" && !input.value) input.blur();
  if (event.key !== "ArrowDown") return;
  const first = document.querySelector(".hit");
  if (first) {
    event.preventDefault();
    first.focus();
  }
}

function startPictures() {
  const button = document.getElementById("camera");
  button.hidden = false;
  button.addEventListener("click", () => file.click());
  file.addEventListener("change", () => {
    use(file.files[0]);
    file.value = "";
  });
  addEventListener("paste", (event) => {
    if (event.clipboardData?.files.length) {
      event.preventDefault();
      use(event.clipboardData.files[0]);
    }
  });
  addEventListener("dragover", (event) => {
    if (hasFiles(event)) {
      event.preventDefault();
      droppable.hidden = false;
    }
  });
  addEventListener("dragleave", (event) => {
    if (!event.relatedTarget) droppable.hidden = true;
  });
  addEventListener("drop", (event) => {
    droppable.hidden = true;
    if (hasFiles(event)) {
      event.preventDefault();
      use(event.dataTransfer.files[0]);
    }
  });
}

const hasFiles = (event) => [...(event.dataTransfer?.types ?? [])].includes("Files");

async function use(chosen) {
  if (!chosen) return;
  try {
    const image = await read(chosen);
    go({ view: null, image, q: null, like: null, query: null, offset: null, why: null, system: null });
  } catch (error) {
    notice(error.message);
  }
}
