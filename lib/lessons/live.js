// The state stepper: works in JupyterLab and on a page without a kernel. What live_common.js defines is known here.
const signal = floats(data.signal);
let selected, sample, h, c, before, gates, chain, targets, outputs, path, history, marks, told;
const begin = index => {
  [selected, sample, h, c, before, gates, chain] = [index, 0, zeros(), zeros(), zeros(), null, 0];
  [targets, outputs, path, history, marks] = [[], [], [], [], []];
};
const step = () => {
  const x = [signal[sample % signal.length], ...data.frequencies.map((_, k) => +(k === selected))];
  before = c;
  [gates, h, c] = lstmStep(x, h, c);
  targets.push(Math.sin(2 * Math.PI * data.frequencies[selected] * sample / data.rate));
  outputs.push(head(h));
  path.push([0, 1].map(d => h.reduce((sum, v, j) => sum + (v - data.centre[j]) * data.directions[j][d], 0)));
  history.push([h, c]);
  sample += 1;
  chain += 1;
};
const mark = kind => marks.push([outputs.length, kind]);
const mse = () => outputs.reduce((sum, y, k) => sum + (y - targets[k]) ** 2, 0) / outputs.length;

const WIDE = 400, STRIP = 200; // samples shown: of the signals and the chain, and of the states
const order = data.directions.map((d, j) => [Math.atan2(d[1], d[0]), j]).sort((a, b) => a[0] - b[0]).map(p => p[1]);

const drawSignals = first => { // left above: 10..610, 24..170
  const curve = values => values.slice(first).map((v, k) => [10 + 1.5 * k, 97 - 54 * Math.max(-1.3, Math.min(1.3, v))]);
  line([[10, 97], [610, 97]], look.rule, 1);
  line(curve(outputs.map((_, k) => signal[k % signal.length])), look.grey, 0.7);
  line(curve(targets), look.pale, 5);
  line(curve(outputs), look.red, 1.6);
  text("last 400 samples, −1 to 1:", 10, 14, look.ink, "bold 12px sans-serif");
  text("input S", 195, 14);
  text("target", 252, 14, look.blue);
  text("output", 304, 14, look.red);
};
const drawOrbit = () => { // right above: centre (730, 97)
  const place = ([a, b]) => [730 + 78 * a / data.scale, 97 - 72 * b / data.scale];
  text("orbit of h", 650, 14, look.ink, "bold 12px sans-serif");
  line(path.slice(-1000).map(place), look.blue, 1);
  if (path.length) bar(...place(path.at(-1)).map(v => v - 4), 8, 8, look.red);
};
const drawChain = first => { // 10..610, 186..226, below the signals and on their axis
  const x = k => 10 + 1.5 * (k - first), cut = outputs.length - chain;
  text("gradient chain", 10, 194, look.ink, "bold 12px sans-serif");
  text(chain ? `the gradient can go back over ${chain} ${chain === 1 ? "sample" : "samples"}` : "nothing to go back over",
    122, 194, look.blue);
  for (let k = first; k < outputs.length; k++) bar(x(k), 204, 1.1, 14, k >= cut ? look.blue : look.rule);
  for (const [at, kind] of marks) {
    if (at < first) continue;
    bar(x(at) - 1, 199, 2, 24, look.red);
    text(kind, x(at) + 3, 228, look.red, "11px sans-serif");
  }
};
const drawStates = () => { // h at 10..405, c at 425..820, 252..372
  const shown = history.slice(-STRIP);
  const image = new ImageData(STRIP, n);
  ["h", "c"].forEach((name, which) => {
    const [left, swing] = [10 + 415 * which, data.swing[which]];
    for (let k = 0; k < STRIP; k++) {
      for (let row = 0; row < n; row++) {
        const j = order[row], v = k < shown.length ? shown[k][which][j] / swing[j] : 0;
        const share = Math.min(1, Math.abs(v)), far = v > 0 ? look.up : look.down;
        look.paper.forEach((p, b) => image.data[4 * (row * STRIP + k) + b] = p + share * (far[b] - p));
        image.data[4 * (row * STRIP + k) + 3] = 255;
      }
    }
    const small = document.createElement("canvas");
    [small.width, small.height] = [STRIP, n];
    small.getContext("2d").putImageData(image, 0, 0);
    pen.imageSmoothingEnabled = false;
    pen.drawImage(small, left, 254, 395, 120);
    [pen.strokeStyle, pen.lineWidth] = [look.rule, 1];
    pen.strokeRect(left, 254, 395, 120);
    text(`${name}, all ${n} units, last ${STRIP} samples`, left, 246, look.ink, "bold 12px sans-serif");
    text("blue above zero, red below", left + 235, 246);
  });
};
const drawGates = () => { // 10..820, 394..460
  const j = Math.max(0, Math.min(n - 1, Math.round(+unit.value || 0)));
  text(`gates of unit ${j}`, 10, 396, look.ink, "bold 12px sans-serif");
  if (!gates) return text("none before the next sample", 110, 396);
  const [i, f, g, o] = [0, 1, 2, 3].map(k => gates[k * n + j]);
  [["input i", i], ["forget f", f], ["output o", o]].forEach(([name, v], k) => {
    text(name, 10 + 130 * k, 416);
    bar(10 + 130 * k, 422, 110, 9, look.rule);
    bar(10 + 130 * k, 422, 110 * v, 9, look.blue);
    text(v.toFixed(3), 82 + 130 * k, 416, look.ink);
  });
  text(`c = f·c + i·g = ${f.toFixed(3)}·(${before[j].toFixed(3)}) + ${i.toFixed(3)}·(${g.toFixed(3)}) = `
    + (f * before[j] + i * g).toFixed(3), 425, 414, look.ink, "11px monospace");
  text(`h = o·tanh(c) = ${o.toFixed(3)}·tanh(${(f * before[j] + i * g).toFixed(3)}) = `
    + (o * Math.tanh(f * before[j] + i * g)).toFixed(3), 425, 431, look.ink, "11px monospace");
};
const draw = message => {
  told = message;
  const first = Math.max(0, outputs.length - WIDE);
  pen.setTransform(2, 0, 0, 2, 0, 0); // twice as fine as its size on the page
  bar(0, 0, 840, 440, `rgb(${look.paper})`);
  drawSignals(first);
  drawOrbit();
  drawChain(first);
  drawStates();
  drawGates();
  const error = outputs.length ? `, mean squared error so far ${mse().toExponential(1)}` : "";
  say.textContent = `${message} ${data.frequencies[selected]} Hz, step ${outputs.length}, gradient chain ${chain}, `
    + `memory ${(chain * data.bytes / 1000).toFixed(0)} kB${error}.`;
};
const actions = {
  step: () => { step(); draw("One sample entered."); },
  run: () => { for (let k = 0; k < 50; k++) step(); draw("Fifty samples entered, one by one."); },
  play: () => {
    if (stop()) draw("Paused.");
    else start(() => { step(); step(); draw("Playing."); });
  },
  reset: () => {
    [h, c, chain, gates] = [zeros(), zeros(), 0, null];
    mark("reset");
    draw("Reset: h and c are zero, the clock starts again.");
  },
  detach: () => { chain = 0; mark("detach"); draw("Detached: the numbers stay, the way back is cut."); },
  zero_h: () => { h = zeros(); mark("h = 0"); draw("h is zero, c is kept: one sample later, h is made from c again."); },
  zero_c: () => { c = zeros(); mark("c = 0"); draw("c is zero, h is kept: for one sample more."); },
};
const unit = root.querySelector("input");
bind(actions);
unit.addEventListener("input", () => draw(told));
root.querySelector("select").addEventListener("change", event => {
  stop();
  begin(+event.target.value);
  draw("A new sequence.");
});
root.live = {begin, step, outputs: () => outputs};
begin(data.selected);
for (let k = 0; k < data.entered; k++) step();
told = `${data.entered} samples have entered, one by one.`;
follow(() => draw(told));
