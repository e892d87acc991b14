// Marks of relevance: grades 0 to 3 under the annotator's name, withdrawn again, beside those of others.

import { Refused, ask, path } from "./api.js";
import { el, put } from "./dom.js";
import { askFor } from "./dialogs.js";
import { keep, kept } from "./kept.js";
import { notice, say, toast } from "./notices.js";

/** What the grades mean. */
export const GRADES = ["not relevant", "marginal", "relevant", "perfect"];

/** The annotator's name, or null where none was given. */
export const annotator = () => kept("annotator");

/** Asks for the annotator's name unless it is known, or always with `again`; resolves to null where none is given. */
export async function named(again = false) {
  if (annotator() && !again) return annotator();
  const name = await askFor(
    "Who is judging?",
    "Your name stands beside your judgments, so that those of several people can be told apart. This browser keeps it.",
    { label: "Your name", value: annotator() ?? "", autocomplete: "name" },
  );
  if (name !== null) keep("annotator", name);
  return name;
}

/** The judgments of one query, shown wherever one of its documents stands. */
export class Judged {
  /** `query` is the text, `queryId` the id in the collection, or null. */
  constructor(query, queryId = null) {
    Object.assign(this, { query, queryId, grades: new Map(), shown: new Map() });
  }

  /** Reads what everybody has judged. */
  async read(signal) {
    const records = await ask(path("judgments", { query: this.query }), { signal });
    this.grades.clear();
    for (const record of records) this.take(record);
    for (const document of this.shown.keys()) this.draw(document);
  }

  /** The grade of an annotator for a document, or null. */
  grade(document, name = annotator()) {
    return this.grades.get(document)?.get(name) ?? null;
  }

  /** Notes a record of the server. */
  take({ document, annotator: name, grade }) {
    if (!this.grades.has(document)) this.grades.set(document, new Map());
    if (grade === null) this.grades.get(document).delete(name);
    else this.grades.get(document).set(name, grade);
  }

  /** Saves a grade, null to withdraw it; true where it was saved. What is not saved is said, and not shown. */
  async mark(document, grade) {
    const name = await named();
    if (name === null) return false;
    const body = { query: this.query, query_id: this.queryId, document, grade, annotator: name };
    try {
      this.take({ ...body, ...(await ask("judgments", { body })) });
    } catch (error) {
      if (error instanceof Refused)
        notice(`The mark was not saved. ${error.message}`, {
          actions: [
            [
              "Try again",
              (close) => {
                close();
                this.mark(document, grade);
              },
            ],
          ],
        });
      return false;
    }
    this.draw(document);
    return true;
  }

  /** Saves a grade, or withdraws it where it stands already, and offers to undo that. */
  async toggle(document, grade) {
    const before = this.grade(document);
    const after = grade === before ? null : grade;
    if (!(await this.mark(document, after))) return;
    const told = after === null ? "Mark withdrawn" : `Marked ${after}, ${GRADES[after]}`;
    toast(told, "Undo", () => this.mark(document, before));
  }

  /** Draws a document's grades again, wherever they stand. */
  draw(document) {
    for (const box of this.shown.get(document) ?? []) fill(box, document, this);
  }
}

/** The grades of a document as buttons, and what others gave it. */
export function grading(document, judged, name) {
  const box = el("div", { class: "grading", role: "group", "aria-label": `Relevance of ${name}` });
  box.addEventListener("keydown", (event) => turn(event, box));
  if (!judged.shown.has(document)) judged.shown.set(document, new Set());
  judged.shown.get(document).add(box);
  fill(box, document, judged);
  return box;
}

function fill(box, document, judged) {
  const mine = judged.grade(document);
  const focused = box.contains(globalThis.document.activeElement)
    ? globalThis.document.activeElement.dataset.grade
    : null;
  put(
    box,
    GRADES.map((told, grade) => button(grade, told, mine, () => judged.toggle(document, grade))),
    others(document, judged),
  );
  if (focused) box.querySelector(`[data-grade="${focused}"]`)?.focus();
}

function button(grade, told, mine, onclick) {
  const title = mine === grade ? `${told}: press again to withdraw` : `${told} (${grade})`;
  return el(
    "button",
    {
      type: "button",
      class: `grade g${grade}`,
      "data-grade": grade,
      "aria-pressed": String(mine === grade),
      "aria-label": `${grade}, ${told}`,
      title,
      tabindex: grade === (mine ?? 0) ? 0 : -1,
      onclick,
    },
    grade,
  );
}

function others(document, judged) {
  const rest = [...(judged.grades.get(document) ?? [])].filter(([name]) => name !== annotator());
  if (!rest.length) return null;
  const told = rest.map(([name, grade]) => `${name}: ${grade}, ${GRADES[grade] ?? ""}`).join("\n");
  const faces = rest
    .slice(0, 3)
    .map(([name, grade]) => el("span", { class: "face" }, initials(name), el("b", {}, grade)));
  return el(
    "span",
    { class: "others", title: told, role: "img", "aria-label": `Also judged by ${told}` },
    faces,
    rest.length > 3 && `+${rest.length - 3}`,
  );
}

const initials = (name) =>
  name
    .split(/\s+/)
    .filter(Boolean)
    .slice(0, 2)
    .map((word) => Array.from(word)[0].toUpperCase())
    .join("");

function turn(event, box) {
  const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
  const buttons = [...box.querySelectorAll(".grade")];
  const place = buttons.indexOf(event.target);
  if (!step || place < 0 || !buttons[place + step]) return;
  event.preventDefault();
  buttons[place + step].focus();
  say("");
}
