// What a browser keeps for this page; a browser that keeps nothing, or is full, forgets it with the page.

const memory = new Map();

/** A text that is kept under a name, or null; of this tab alone with `store` sessionStorage. */
export function kept(name, store = "localStorage") {
  try {
    return window[store].getItem(`nirank-${name}`) ?? memory.get(name) ?? null;
  } catch {
    return memory.get(name) ?? null;
  }
}

/** Keeps a text under a name, or forgets it if it is null. */
export function keep(name, text, store = "localStorage") {
  if (text === null) memory.delete(name);
  else memory.set(name, text);
  try {
    if (text === null) window[store].removeItem(`nirank-${name}`);
    else window[store].setItem(`nirank-${name}`, text);
  } catch {
    // it stays in memory
  }
}
