// Sets light or dark before anything is drawn, so that a chosen theme does not flash. Not a module: these wait.
(() => {
  let chosen = null;
  try {
    chosen = localStorage.getItem("nirank-theme");
  } catch {
    // a browser that keeps nothing has the colours of the system
  }
  if (chosen === "light" || chosen === "dark") document.documentElement.dataset.theme = chosen;
})();
