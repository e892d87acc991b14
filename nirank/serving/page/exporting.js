// Who judges, and the files of what was judged.

import { Refused, bytes, path } from "./api.js";
import { go } from "./address.js";
import { el } from "./dom.js";
import { annotator, named } from "./judging.js";
import { notice, toast } from "./notices.js";

/** A button that says who judges, and asks for another name. */
export function judgingAs() {
  return el(
    "button",
    { type: "button", class: "picked", onclick: rename },
    annotator() ? ["judging as ", el("b", {}, annotator())] : "your name…",
  );
}

async function rename() {
  const before = annotator();
  if ((await named(true)) !== before) go({}, { replace: true });
}

/** A menu of the files of judgments. */
export function exports() {
  const save = (label, place, name) =>
    el("button", { type: "button", class: "save", onclick: () => download(place(), name()) }, label);
  const mine = () => path("judgments/qrels", { annotator: annotator() });
  return el(
    "details",
    { class: "export" },
    el("summary", {}, "Export"),
    el(
      "div",
      { class: "menu" },
      save(
        "qrels of everybody",
        () => "judgments/qrels",
        () => "qrels.txt",
      ),
      annotator() && save(`qrels of ${annotator()}`, mine, () => `qrels-${annotator()}.txt`),
      save(
        "queries (topics)",
        () => "judgments/topics",
        () => "topics.tsv",
      ),
    ),
  );
}

async function download(place, name) {
  try {
    const blob = await bytes(place);
    const link = el("a", { href: URL.createObjectURL(blob), download: name.replace(/[/\\:]/g, "-") });
    document.body.append(link);
    link.click();
    link.remove();
    setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
    toast(`Saved ${name}`);
  } catch (error) {
    if (!(error instanceof Refused)) throw error;
    notice(`There is no file. ${error.message}`);
  }
}
