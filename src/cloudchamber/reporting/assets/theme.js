"use strict";
(() => {
  let stored = null;
  try { stored = localStorage.getItem("cloudchamber-theme"); } catch { /* storage may be forbidden */ }
  const dark = matchMedia("(prefers-color-scheme: dark)").matches;
  document.documentElement.dataset.theme = stored === "dark" || stored === "light" ? stored : dark ? "dark" : "light";
})();
