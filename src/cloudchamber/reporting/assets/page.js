/* The theme, and the copy buttons. */
(() => {
  const root = document.documentElement, button = document.getElementById("theme"), status = document.getElementById("status");

  function set(theme, keep) {
    root.dataset.theme = theme;
    if (keep) try { localStorage.setItem("cloudchamber-theme", theme); } catch { /* storage may be forbidden */ }
    cc.drawAll();
  }
  button.addEventListener("click", () => set(cc.dark() ? "light" : "dark", true));

  let before = null;
  addEventListener("beforeprint", () => { before = root.dataset.theme; set("light", false); });
  addEventListener("afterprint", () => before && set(before, false));

  function selectText(element) {
    const range = document.createRange();
    range.selectNodeContents(element);
    getSelection().removeAllRanges();
    getSelection().addRange(range);
  }
  async function copy(element) {
    try { await navigator.clipboard.writeText(element.textContent); } catch {
      selectText(element);
      return document.execCommand("copy");
    }
    return true;
  }
  for (const item of document.querySelectorAll("[data-copy]")) {
    const words = item.textContent;
    item.addEventListener("click", async () => {
      const done = await copy(document.getElementById(item.dataset.copy));
      item.textContent = status.textContent = done ? "Copied" : "Select and copy by hand";
      setTimeout(() => { item.textContent = words; status.textContent = ""; }, 1800);
    });
  }
})();
