// What the live figures share: one LSTM step in plain JavaScript, a canvas, and two schemes of colours.
// It runs inside the function of widgets.py, which gives it the figure, `root`, and its content, `data`.
const floats = text => new Float32Array(Uint8Array.from(atob(text), c => c.charCodeAt(0)).buffer);
const unpack = weights => Object.fromEntries(Object.entries(weights).map(([name, text]) => [name, floats(text)]));
let w = unpack(data.weights);
const n = data.hidden, zeros = () => new Float64Array(n);
const sigmoid = z => 1 / (1 + Math.exp(-z));
const plus = (bias, weight, x) => { // bias + weight · x, row by row
  const sums = new Float64Array(bias.length);
  for (let row = 0, k = 0; row < sums.length; row++) {
    let sum = bias[row];
    for (let j = 0; j < x.length; j++) sum += weight[k++] * x[j];
    sums[row] = sum;
  }
  return sums;
};

// x, h, c -> gates, h, c: rows 0..n-1 of the weights are the input gate, then forget gate, candidate, output gate
const lstmStep = (x, h, c) => {
  const typed = Float64Array.from(x); // as h: a loop that meets two kinds of rows runs ten times slower
  const gates = plus(plus(w.bias_ih, w.weight_ih, typed), w.weight_hh, h), [nextH, nextC] = [zeros(), zeros()];
  for (let j = 0; j < 4 * n; j++) {
    const drive = gates[j] + w.bias_hh[j];
    gates[j] = j >= 2 * n && j < 3 * n ? Math.tanh(drive) : sigmoid(drive);
  }
  for (let j = 0; j < n; j++) {
    nextC[j] = gates[n + j] * c[j] + gates[j] * gates[2 * n + j];
    nextH[j] = gates[3 * n + j] * Math.tanh(nextC[j]);
  }
  return [gates, nextH, nextC];
};
const activation = {tanh: Math.tanh, relu: v => Math.max(0, v), identity: v => v}[data.activation];
const head = h => plus(w.out_bias, w.out_weight, plus(w.head_bias, w.head_weight, h).map(activation))[0];

root.querySelector("[data-still]").remove();
root.querySelector("[data-hint]").outerHTML = data.stage;
const canvas = root.querySelector("canvas"), pen = canvas.getContext("2d"), say = root.querySelector("[data-say]");
const light = {paper: [255, 255, 255], ink: "#111", soft: "#595959", rule: "#ccc", grey: "#8c8c8c", pale: "#8FB9DB",
  blue: "#0060A8", red: "#C8102E", up: [0, 96, 168], down: [200, 16, 46]};
const dark = {paper: [24, 26, 30], ink: "#f0f0f0", soft: "#b8b8b8", rule: "#555", grey: "#8c8c8c", pale: "#35628a",
  blue: "#6db6f2", red: "#ff7b8a", up: [109, 182, 242], down: [255, 123, 138]};
const isDark = () => document.body && document.body.dataset.jpThemeLight
  ? document.body.dataset.jpThemeLight === "false" : matchMedia("(prefers-color-scheme: dark)").matches;
let look = light, timer = null;

const text = (words, x, y, colour = look.soft, font = "12px sans-serif") => {
  [pen.fillStyle, pen.font] = [colour, font];
  pen.fillText(words, x, y);
};
const line = (points, colour, width, dash = []) => {
  pen.beginPath();
  points.forEach(([x, y], k) => k ? pen.lineTo(x, y) : pen.moveTo(x, y));
  [pen.strokeStyle, pen.lineWidth] = [colour, width];
  pen.setLineDash(dash);
  pen.stroke();
};
const bar = (x, y, width, height, colour) => { pen.fillStyle = colour; pen.fillRect(x, y, width, height); };

const quiet = on => say.setAttribute("aria-live", on ? "off" : "polite"); // 25 messages a second help nobody
const stop = () => { // tells whether it was playing
  const playing = timer !== null;
  clearInterval(timer);
  timer = null;
  quiet(false);
  return playing;
};
const start = tick => { quiet(true); timer = setInterval(() => root.isConnected ? tick() : stop(), 40); };
const bind = actions => root.querySelectorAll("button").forEach(
  b => b.addEventListener("click", () => actions[b.dataset.act]()));
const follow = redraw => { // the scheme of the page, now and when it changes
  const dress = () => {
    look = isDark() ? dark : light;
    Object.assign(root.style,
      {background: `rgb(${look.paper})`, color: look.ink, colorScheme: isDark() ? "dark" : "light"});
    redraw();
  };
  dress();
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", dress);
  new MutationObserver(dress).observe(document.body, {attributes: true, attributeFilter: ["data-jp-theme-light"]});
};
