/* Cosine images: one heatmap per kind, whose numbers are decoded and swapped when the layer or the step changes. */
(() => {
  const images = cc.data.images;
  if (!images) return;
  const byId = (id) => document.getElementById(id);
  const layer = byId("image-layer"), slider = byId("image-step"), play = byId("image-play"), order = byId("image-order");
  const scales = {
    light: [[0, "#0b4a86"], [0.25, "#7fb0d8"], [0.5, "#f6f6f4"], [0.75, "#e3957a"], [1, "#8f1d2c"]],
    dark: [[0, "#7cc0ff"], [0.25, "#2c639a"], [0.5, "#161e24"], [0.75, "#9a4a33"], [1, "#ffa07a"]],
  };
  const scale = () => scales[cc.dark() ? "dark" : "light"];

  function decode(text, order) {
    const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
    const side = (Math.sqrt(8 * bytes.length + 1) - 1) / 2;
    const at = (i, j) => bytes[i * side - (i * (i - 1)) / 2 + (j - i)];
    const value = (i, j) => { const code = i <= j ? at(i, j) : at(j, i); return code ? (code - 1) / 127 - 1 : null; };
    const turned = order ?? Array.from({ length: side }, (_, i) => i);
    return { turned, values: turned.map((i) => turned.map((j) => value(i, j))) };
  }

  function draw(div) {
    const kind = images.kinds[div.dataset.image], row = layer.selectedIndex, step = Number(slider.value);
    const orders = kind.orders[row];
    const chosen = orders && (order?.value === "last" ? orders.at(-1) : orders[step]);
    const { turned, values } = decode(kind.data[row][step], chosen);
    const names = kind.labels[row] ?? kind.labels[0], labels = turned.map((i) => names[i]);
    const edges = kind.edges.flatMap((edge) => [["x", "y"], ["y", "x"]].map(([along, across]) => ({
      type: "line", [`${along}0`]: edge - 0.5, [`${along}1`]: edge - 0.5, [`${across}0`]: -0.5, [`${across}1`]: labels.length - 0.5,
      line: { color: cc.shade(cc.color("ink"), 0.28), width: 0.5 },
    })));
    const hidden = { visible: false, fixedrange: true, range: [-0.5, labels.length - 0.5] };
    const starts = [0, ...kind.edges], centres = starts.map((from, i) => (from + (starts[i + 1] ?? labels.length) - 1) / 2);
    const named = { visible: true, showgrid: false, zeroline: false, tickvals: centres, ticktext: kind.groups.map(cc.plain), ticks: "", tickfont: { size: 11, color: cc.color("muted") } };
    const room = Object.values(images.kinds).some((other) => other.groups.length) ? 24 : 0, left = kind.groups.length ? room : 0;
    Plotly.react(div, [{
      type: "heatmap", z: values, zmin: -1, zmax: 1, colorscale: scale(), showscale: false, hoverongaps: true,
      text: labels.map((one) => labels.map((other) => `${cc.plain(one)} and ${cc.plain(other)}`)),
      hovertemplate: "%{text}<br>cosine %{z:.2f}<extra></extra>",
    }], cc.layout({
      margin: { l: left, r: room - left, t: room / 2, b: room / 2 }, dragmode: false, plot_bgcolor: cc.color("gap"), shapes: edges,
      xaxis: hidden, yaxis: { ...hidden, ...(left ? named : {}), range: [labels.length - 0.5, -0.5] },
    }), cc.config);
    const finite = values.flat().some((value) => value !== null);
    const thin = labels.length < kind.of[row] ? `${labels.length} of ${kind.of[row]} shown, evenly chosen.` : "";
    const nothing = finite ? "" : "Nothing was measured here, or nothing finite. ";
    div.parentElement.querySelector(".note").textContent = `${layer.value}, ${now().text}. ${nothing}${thin}`;
  }

  /* The loss above the slider, in the slider's own scale: image step i stands at i / (count − 1). */
  function place(step) {
    const steps = images.steps, last = steps.length - 1;
    const next = steps.findIndex((other) => other >= step);
    if (next <= 0) return next === 0 ? 0 : 1;
    return (next - 1 + (step - steps[next - 1]) / (steps[next] - steps[next - 1])) / last;
  }

  const shape = (tag, attributes) => {
    const item = document.createElementNS("http://www.w3.org/2000/svg", tag);
    for (const [key, value] of Object.entries(attributes)) item.setAttribute(key, value);
    return item;
  };

  function timeline() {
    const svg = byId("timeline"), lines = cc.data.charts.loss?.lines ?? [];
    const loss = lines.find((line) => line.role === "probe_loss") ?? lines[0];
    const inside = (step) => step >= images.steps[0] && step <= images.steps.at(-1);
    const points = (loss?.x ?? []).map((step, i) => [step, loss.y[i]]).filter(([step, y]) => y !== null && inside(step));
    const low = Math.min(...points.map(([, y]) => y)), high = Math.max(...points.map(([, y]) => y));
    const path = points.map(([step, y], i) => `${i ? "L" : "M"}${(1000 * place(step)).toFixed(1)} ${(43 - (38 * (y - low)) / (high - low || 1)).toFixed(1)}`);
    const bands = cc.data.phases.map((phase) => [place(phase.start), place(phase.stop), cc.phaseColor(phase.name)]);
    const cursor = (1000 * Number(slider.value)) / Math.max(images.steps.length - 1, 1);
    svg.replaceChildren(
      ...bands.map(([from, to, fill]) => shape("rect", { x: 1000 * from, width: Math.max(1000 * (to - from), 0), y: 0, height: 46, fill: cc.shade(fill, 0.13 / cc.data.phases.length ** 0.8) })),
      shape("path", { d: path.join("") }), shape("line", { x1: cursor, x2: cursor, y1: 0, y2: 46 }),
    );
  }

  function now() {
    const step = images.steps[Number(slider.value)];
    const phases = cc.data.phases.filter((p) => step >= p.start && step <= p.stop).map((p) => p.name);
    const digits = step < 1e4 ? String(step) : step.toLocaleString("en").replaceAll(",", "\u202f");
    const text = ["step " + digits, ...phases].join(", ");
    return { step, text };
  }

  function words() {
    const { text } = now();
    byId("image-now").textContent = text;
    slider.setAttribute("aria-valuetext", text);
  }

  const divs = [...document.querySelectorAll("[data-image]")];
  function drawImages() {
    words();
    timeline();
    byId("image-scale").style.background = `linear-gradient(90deg, ${scale().map(([at, color]) => `${color} ${100 * at}%`).join(", ")})`;
    divs.forEach(draw);
  }

  let timer = null;
  function stop() {
    clearInterval(timer);
    timer = null;
    play.setAttribute("aria-pressed", "false");
    play.querySelector("span").textContent = "Play";
  }
  function advance() {
    if (Number(slider.value) >= images.steps.length - 1) return stop();
    slider.value = Number(slider.value) + 1;
    drawImages();
  }
  function start() {
    if (Number(slider.value) >= images.steps.length - 1) slider.value = 0;
    play.setAttribute("aria-pressed", "true");
    play.querySelector("span").textContent = "Pause";
    drawImages();
    timer = setInterval(advance, 650);
  }

  play.addEventListener("click", () => (timer ? stop() : start()));
  slider.addEventListener("input", () => { stop(); drawImages(); });
  for (const select of [layer, order]) select?.addEventListener("change", drawImages);
  byId("timeline").addEventListener("click", (event) => {
    const box = event.currentTarget.getBoundingClientRect();
    slider.value = Math.round(((event.clientX - box.left) / box.width) * (images.steps.length - 1));
    stop();
    drawImages();
  });
  cc.draws.push(drawImages);
  drawImages();
})();
