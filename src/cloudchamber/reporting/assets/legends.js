/* Legends are buttons below the charts; the one of the layers serves every chart with one line per layer. */
const swatch = (color, dash) => {
  const name = "http://www.w3.org/2000/svg";
  const svg = document.createElementNS(name, "svg"), line = document.createElementNS(name, "line");
  svg.setAttribute("viewBox", "0 0 18 10");
  svg.setAttribute("aria-hidden", "true");
  for (const [key, value] of Object.entries({ x1: 0, x2: 18, y1: 5, y2: 5, "stroke-width": dash ? 1.5 : 3, "stroke-dasharray": dash ?? "none" })) line.setAttribute(key, value);
  line.style.stroke = color;
  svg.append(line);
  return svg;
};

function entry(group, line) {
  const key = line.key, button = document.createElement("button");
  button.type = "button";
  button.setAttribute("aria-pressed", String(!cc.isHidden(group, key)));
  const words = line.role === "layer" ? cc.data.short[line.layer] : (line.label ?? line.name);
  button.append(swatch(cc.lineStyle(line).color), words);
  if (words !== line.name) button.title = line.label ?? line.name;
  button.addEventListener("click", () => {
    const hidden = cc.hidden.get(group) ?? new Set();
    if (!hidden.delete(key)) hidden.add(key);
    cc.hidden.set(group, hidden);
    cc.drawAll();
    [...document.querySelectorAll(`[data-legend="${CSS.escape(group)}"] button`)].find((b) => b.dataset.key === key)?.focus();
  });
  button.dataset.key = key;
  return button;
}

function drawLegend(box) {
  const group = box.dataset.legend;
  const chart = group === "layers" ? Object.values(cc.data.charts).find((c) => c.lines[0].role === "layer") : cc.data.charts[group];
  const levels = (chart.levels ?? []).map((level) => {
    const span = document.createElement("span");
    span.className = "key";
    span.append(swatch(cc.color("ink"), "2 3"), level.name);
    return span;
  });
  const different = chart.lines.filter((line, i) => chart.lines.findIndex((other) => other.key === line.key) === i);
  box.replaceChildren(...different.map((line) => entry(group, line)), ...levels);
}

for (const box of document.querySelectorAll("[data-legend]")) {
  cc.draws.push(() => drawLegend(box));
  drawLegend(box);
}
