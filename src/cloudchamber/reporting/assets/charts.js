/* Curves over steps. The page's data are drawn in the colours of the style sheet, and again when the theme changes. */
const cc = { data: JSON.parse(document.getElementById("data").textContent), draws: [], hidden: new Map() };

cc.color = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
cc.dark = () => document.documentElement.dataset.theme === "dark";
cc.plain = (text) => String(text).replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
cc.shade = (hex, alpha) => hex + Math.round(alpha * 255).toString(16).padStart(2, "0");
cc.config = { responsive: true, displaylogo: false, displayModeBar: false, doubleClick: "reset", showTips: false };
cc.depth = (index) => cc.data.depth[cc.dark() ? "dark" : "light"][index];
cc.phaseColor = (name, more = "") => cc.color(name.replaceAll(" ", "-") + more) || cc.color("muted");
cc.coarse = matchMedia("(pointer: coarse)").matches; /* a finger that drags across a chart means to scroll */

cc.layout = (more) => ({
  font: { family: getComputedStyle(document.body).fontFamily, size: 12, color: cc.color("muted") },
  paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", showlegend: false, dragmode: cc.coarse ? false : "zoom",
  margin: { l: 44, r: 18, t: 10, b: 40 },
  hoverlabel: { bgcolor: cc.color("raised"), bordercolor: cc.color("strong"), font: { family: getComputedStyle(document.body).fontFamily, color: cc.color("ink"), size: 12 } },
  ...more,
});
cc.axis = (more) => ({
  gridcolor: cc.color("line"), zeroline: false, linecolor: cc.color("line"), automargin: true, nticks: 6,
  tickfont: { color: cc.color("muted") }, ...more,
});

cc.lineStyle = (line) => ({
  train_loss: { color: cc.shade(cc.color("muted"), 0.65), width: 1 },
  probe_loss: { color: cc.color("accent"), width: 2.25 },
  class: { color: line.color, width: 1.25 },
  mean: { color: cc.color("ink"), width: 2.5 },
  layer: { color: cc.depth(line.layer), width: 1.75 },
})[line.role];

cc.isHidden = (group, key) => cc.hidden.get(group)?.has(key) ?? false;
cc.group = (name) => (cc.data.charts[name].lines[0].role === "layer" ? "layers" : name);

function trace(line, group, unified, chart) {
  const known = line.y.filter((value) => value !== null).length;
  const from = Number.isFinite(line.reference) ? `  <i>${chart.null ? "of" : "from"} ${line.reference.toPrecision(3)}</i>` : "";
  const name = cc.plain(line.name);
  return {
    x: line.x, y: line.y, name, type: "scatter", mode: known <= 12 ? "lines+markers" : "lines",
    line: cc.lineStyle(line), marker: { size: 5 }, visible: !cc.isHidden(group, line.key),
    text: line.x.map(() => name),
    hovertemplate: unified ? `%{y:${chart.format}}${from}` : `%{text}<br>step %{x:,}: %{y:${chart.format}}${from}<extra></extra>`,
  };
}

function levels(chart, span) {
  const lines = (chart.levels ?? []).map((level) => ({ name: cc.plain(level.name), y: level.y, color: cc.color("ink") }));
  const nulls = chart.null ? chart.lines.map((line) => ({ name: "", y: line.reference, color: cc.depth(line.layer) })) : [];
  return [...lines, ...nulls].filter((level) => Number.isFinite(level.y)).map((level) => ({
    x: span, y: [level.y, level.y], name: level.name, type: "scatter", mode: "lines", hoverinfo: "skip",
    line: { color: level.color, width: 1, dash: "dot" },
  }));
}

function crosses(chart) {
  if (!chart.broken?.length) return [];
  return [{
    x: chart.broken, y: chart.broken.map(() => 0.02), yaxis: "y2", type: "scatter", mode: "markers", name: "not a finite number",
    cliponaxis: false, hovertemplate: "not a finite number<extra></extra>",
    marker: { symbol: "x-thin", size: 7, line: { color: cc.color("stuck"), width: 1.75 } },
  }];
}

function phaseMarks() {
  const shapes = cc.data.phases.map((phase) => ({
    type: "rect", xref: "x", yref: "paper", x0: phase.start, x1: phase.stop, y0: 0, y1: 1, layer: "below",
    line: { width: 0 }, fillcolor: cc.shade(cc.phaseColor(phase.name), (cc.dark() ? 0.13 : 0.11) / cc.data.phases.length ** 0.8),
  }));
  const annotations = cc.data.phases.map((phase, line) => ({
    x: phase.start, y: 1, yshift: 15 * line, xref: "x", yref: "paper", xanchor: "left", yanchor: "bottom", showarrow: false,
    text: cc.plain(phase.name), font: { size: 11, color: cc.phaseColor(phase.name, "-text") },
  }));
  return { shapes, annotations };
}

cc.span = (chart) => {
  const steps = chart.lines.flatMap((line) => [line.x[0], line.x.at(-1)]);
  return [Math.min(...steps), Math.max(...steps)];
};

function drawCurve(div) {
  const name = div.dataset.chart, chart = cc.data.charts[name], group = cc.group(name), span = cc.span(chart);
  const unified = chart.lines.length <= 12 && innerWidth > 640;
  const traces = chart.lines.map((line) => trace(line, group, unified, chart));
  const before = div.layout?.xaxis;
  const room = (span[1] - span[0]) * 0.015 || 1;
  const range = before && before.autorange === false ? before.range : [span[0] - room, span[1] + room];
  Plotly.react(div, [...traces, ...levels(chart, [span[0] - room, span[1] + room]), ...crosses(chart)], cc.layout({
    ...phaseMarks(), margin: { l: 44, r: 18, t: 4 + 17 * Math.max(cc.data.phases.length, 1), b: 40 }, hovermode: unified ? "x unified" : "closest",
    xaxis: cc.axis({ range, showgrid: false, hoverformat: ",", unifiedhovertitle: { text: "step %{x}" }, spikecolor: cc.color("strong"), spikethickness: 1, spikedash: "solid", title: { text: "step", standoff: 8 }, showline: true }),
    yaxis: cc.axis({ fixedrange: true, ...(chart.range ? { range: chart.range } : {}) }),
    yaxis2: { overlaying: "y", range: [0, 1], visible: false, fixedrange: true },
  }), cc.config);
}

function drawChange(div) {
  const chart = cc.data.charts[div.dataset.change];
  const rows = chart.lines.map((line, index) => {
    const known = line.y.filter((value) => value !== null);
    return { index, name: line.name, first: line.reference, last: known.at(-1), top: known.length ? Math.max(...known) : null };
  }).filter((row) => !cc.isHidden("layers", chart.lines[row.index].key));
  const points = (key, marker, words) => ({
    x: rows.map((row) => row[key]), y: rows.map((_, place) => place), type: "scatter", mode: "markers", marker,
    text: rows.map((row) => cc.plain(row.name)), hovertemplate: `%{text}<br>${words} %{x:.3f}<extra></extra>`,
  });
  const colors = rows.map((row) => cc.depth(row.index));
  const ends = (row) => {
    const known = [row.first, row.last, row.top].filter(Number.isFinite);
    return known.length ? [Math.min(...known), Math.max(...known)] : [null, null];
  };
  const bars = {
    x: rows.flatMap((row) => [...ends(row), null]), y: rows.flatMap((_, place) => [place, place, null]),
    type: "scatter", mode: "lines", hoverinfo: "skip", line: { color: cc.color("strong"), width: 2 },
  };
  const open = { symbol: "circle-open", size: 9, color: colors, line: { width: 2, color: colors } };
  const top = { symbol: "triangle-up", size: 8, color: cc.color("muted") };
  Plotly.react(div, [bars, points("top", top, "highest"), points("first", open, cc.plain(chart.reference)),
    points("last", { size: 10, color: colors }, "last")], cc.layout({
    hovermode: "closest", dragmode: false, margin: { l: 44, r: 18, t: 21, b: 24 }, xaxis: cc.axis({ fixedrange: true }),
    yaxis: cc.axis({ fixedrange: true, range: [rows.length - 0.4, -0.6], nticks: 0, showgrid: false, tickvals: rows.map((_, i) => i), ticktext: rows.map((row) => cc.plain(cc.data.short[row.index])) }),
  }), cc.config);
}

function link(div) {
  div.on("plotly_relayout", (event) => {
    const range = event["xaxis.range"] ?? ("xaxis.range[0]" in event ? [event["xaxis.range[0]"], event["xaxis.range[1]"]] : null);
    const reset = event["xaxis.autorange"];
    if (cc.linking || (!range && !reset)) return;
    cc.linking = true;
    const others = [...document.querySelectorAll("[data-chart]")].filter((other) => other !== div);
    Promise.all(others.map((other) => Plotly.relayout(other, range ? { "xaxis.range": range } : { "xaxis.autorange": true })))
      .finally(() => { cc.linking = false; });
  });
}

cc.drawAll = () => cc.draws.forEach((draw) => draw());
for (const div of document.querySelectorAll("[data-chart]")) {
  cc.draws.push(() => drawCurve(div));
  drawCurve(div);
  link(div);
}
for (const div of document.querySelectorAll("[data-change]")) {
  cc.draws.push(() => drawChange(div));
  drawChange(div);
}
