// One LSTM step in plain JavaScript, and a small stage for it: works in JupyterLab and on a page without a kernel.
// It runs inside the function of scripted.py, which gives it the figure, `root`, and its content, `data`.
const floats = text => new Float32Array(Uint8Array.from(atob(text), c => c.charCodeAt(0)).buffer);
const w = Object.fromEntries(Object.entries(data.weights).map(([name, text]) => [name, floats(text)]));
const signal = floats(data.signal), n = data.hidden;
const sigmoid = z => 1 / (1 + Math.exp(-z));
const affine = (weight, bias, x, row) => x.reduce((sum, v, k) => sum + weight[row * x.length + k] * v, bias[row]);

// x, h, c -> h, c: rows 0..n-1 of the weights are the input gate, then forget gate, candidate, output gate
const lstmStep = (x, h, c) => {
  const drive = row => affine(w.weight_ih, w.bias_ih, x, row) + affine(w.weight_hh, w.bias_hh, h, row);
  const next = c.map((old, j) => sigmoid(drive(n + j)) * old + sigmoid(drive(j)) * Math.tanh(drive(2 * n + j)));
  return [next.map((value, j) => sigmoid(drive(3 * n + j)) * Math.tanh(value)), next];
};
const head = h => {
  const inner = Array.from(w.head_bias, (_, j) => Math.tanh(affine(w.head_weight, w.head_bias, h, j)));
  return affine(w.out_weight, w.out_bias, inner, 0);
};

const zeros = () => new Array(n).fill(0);
let selected, sample, h, c, chain, targets, outputs, path, timer = null;
const begin = index => {
  [selected, sample, h, c, chain, targets, outputs, path] = [index, 0, zeros(), zeros(), 0, [], [], []];
};
const step = () => {
  const x = [signal[sample % signal.length], ...data.frequencies.map((_, k) => +(k === selected))];
  [h, c] = lstmStep(x, h, c);
  targets.push(Math.sin(2 * Math.PI * data.frequencies[selected] * sample / data.rate));
  outputs.push(head(h));
  path.push([0, 1].map(d => h.reduce((sum, v, j) => sum + (v - data.centre[j]) * data.directions[j][d], 0)));
  sample += 1;
  chain += 1;
};
const mse = () => outputs.reduce((sum, y, k) => sum + (y - targets[k]) ** 2, 0) / outputs.length;

root.querySelector("[data-still]").remove();
root.querySelector("[data-hint]").outerHTML = data.stage;
const canvas = root.querySelector("canvas"), pen = canvas.getContext("2d"), say = root.querySelector("[data-say]");
const line = (points, colour, width) => {
  pen.beginPath();
  points.forEach(([px, py], k) => k ? pen.lineTo(px, py) : pen.moveTo(px, py));
  pen.strokeStyle = colour;
  pen.lineWidth = width;
  pen.stroke();
};
const draw = message => {
  const first = Math.max(0, outputs.length - 400);
  const curve = values => values.slice(first).map((v, k) => [10 + k, 82 - 56 * Math.max(-1.3, Math.min(1.3, v))]);
  pen.fillStyle = "#fff";
  pen.fillRect(0, 0, canvas.width, canvas.height);
  line(curve(outputs.map((_, k) => signal[k % signal.length])), "#A6A6A6", 0.7);
  line(curve(targets), "#8FB9DB", 5);
  line(curve(outputs), "#C8102E", 1.6);
  pen.font = "12px sans-serif";
  const words = [["input S", 10, "#6B6B6B"], ["target", 70, "#0060A8"], ["output", 120, "#C8102E"],
    ["last 400 samples, −1 to 1", 200, "#444"], ["orbit of h", 470, "#444"]];
  words.forEach(([text, left, colour]) => { pen.fillStyle = colour; pen.fillText(text, left, 176); });
  const place = ([a, b]) => [500 + 70 * a / data.scale, 82 - 70 * b / data.scale];
  line(path.slice(-1000).map(place), "#0060A8", 1);
  if (path.length) pen.fillStyle = "#C8102E", pen.fillRect(...place(path.at(-1)).map(v => v - 4), 8, 8);
  const error = outputs.length ? `, mean squared error so far ${mse().toExponential(1)}` : "";
  say.textContent = `${message} ${data.frequencies[selected]} Hz, step ${outputs.length}, gradient chain ${chain}, `
    + `memory ${(chain * data.bytes / 1000).toFixed(0)} kB${error}.`;
};
const quiet = on => say.setAttribute("aria-live", on ? "off" : "polite"); // 25 messages a second help nobody
const stop = () => { clearInterval(timer); timer = null; quiet(false); };
const actions = {
  step: () => { step(); draw("One sample entered."); },
  run: () => { for (let k = 0; k < 50; k++) step(); draw("Fifty samples entered, one by one."); },
  play: () => {
    if (timer) { stop(); draw("Paused."); }
    else quiet(true), timer = setInterval(() => root.isConnected ? (step(), step(), draw("Playing.")) : stop(), 40);
  },
  reset: () => { [h, c, chain] = [zeros(), zeros(), 0]; draw("Reset: h and c are zero, the clock starts again."); },
  detach: () => { chain = 0; draw("Detached: the numbers stay, the way back is cut."); },
};
root.querySelectorAll("button").forEach(b => b.addEventListener("click", () => actions[b.dataset.act]()));
root.querySelector("select").addEventListener("change", event => {
  stop();
  begin(+event.target.value);
  draw("A new sequence.");
});
root.live = { begin, step, outputs: () => outputs };
begin(data.selected);
for (let k = 0; k < data.entered; k++) step();
draw(`${data.entered} samples have entered, one by one.`);
