// Questions to the server: with the token where it wants one, again where it is busy, and its refusals as sentences.

import { kept, keep } from "./kept.js";
import { askForToken } from "./dialogs.js";
import { waiting } from "./notices.js";

/** Seconds between two tries where a busy server does not say when, and the tries before it is told. */
const PAUSE = 2;
const TRIES = 6;

/** An answer that is none: `status` of HTTP (0 without an answer), and a sentence about it as `message`. */
export class Refused extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

/** The server's JSON to a question; with `body` it is posted. Raises `Refused`, or AbortError by `signal`. */
export async function ask(path, { body, signal } = {}) {
  const answer = await answered(path, { body, signal });
  try {
    return await answer.json();
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Refused(answer.status, "The server's answer cannot be read: is it another program's?");
  }
}

/** The server's answer as bytes, for pictures and files. */
export async function bytes(path, { signal } = {}) {
  return (await answered(path, { signal })).blob();
}

/** True where the server was given a token, so that pictures have to be asked for with it. */
export const hasToken = () => kept("token", "sessionStorage") !== null;

/** A path with its parameters; those that are null or undefined are left out, lists are repeated. */
export function path(name, parameters = {}) {
  const search = new URLSearchParams();
  for (const [key, value] of Object.entries(parameters)) {
    for (const each of [value].flat()) if (each !== null && each !== undefined) search.append(key, each);
  }
  return search.size ? `${name}?${search}` : name;
}

async function answered(path, { body, signal }, tries = 1) {
  const answer = await sent(path, body, signal);
  if (answer.ok) return answer;
  if (answer.status === 401) {
    const token = await askForToken(hasToken());
    if (token === null)
      throw new Refused(401, "The server answers those who have its token. Whoever started it has it.");
    keep("token", token, "sessionStorage");
    return answered(path, { body, signal }, tries);
  }
  if (answer.status === 503 && tries < TRIES) {
    await waiting(seconds(answer), await reason(answer), signal);
    return answered(path, { body, signal }, tries + 1);
  }
  throw new Refused(answer.status, await reason(answer));
}

async function sent(path, body, signal) {
  const headers = {};
  if (hasToken()) headers.Authorization = `Bearer ${kept("token", "sessionStorage")}`;
  if (body !== undefined) headers["Content-Type"] = "application/json";
  const text = body === undefined ? undefined : JSON.stringify(body);
  try {
    return await fetch(path, { method: text === undefined ? "GET" : "POST", headers, body: text, signal });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Refused(0, "The server does not answer. See whether `nirank serve` still runs, then try again.");
  }
}

function seconds(answer) {
  const said = Number(answer.headers.get("Retry-After"));
  return said > 0 ? Math.min(said, 60) : PAUSE;
}

async function reason(answer) {
  const told = await answer.json().catch(() => ({}));
  if (typeof told.detail === "string") return told.detail;
  if (Array.isArray(told.detail)) return told.detail.map(({ loc, msg }) => `${loc?.at(-1) ?? ""}: ${msg}`).join("; ");
  return `The server answered ${answer.status} ${answer.statusText}`.trim();
}
