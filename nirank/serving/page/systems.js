// The one or two systems that are shown side by side.

/** The names of the two systems that the address says: `b` is empty where one alone is shown. */
export function systems(about, state) {
  const names = about.pipelines.map(({ name }) => name);
  const a = names.includes(state.a) ? state.a : names[0];
  const other = names.find((name) => name !== a) ?? "";
  const b = state.b === undefined ? other : state.b;
  return { a, b: names.includes(b) && b !== a ? b : "" };
}
