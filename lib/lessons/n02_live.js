// The state stepper: works in JupyterLab and on a page without a kernel. What live_common.js defines is known here.
const signal = floats(data.signal), m = data.frequencies.length;
const SEQUENCE = 500; // samples, for the policies that end one
const [EVERY, AT_START, LEAK] = [1, 2, 3]; // places in the menu of policies
const [menu, networks, policies] = root.querySelectorAll("select"), unit = root.querySelector("input");
let net, order, selected, sample, h, c, steps, through, chain, held, freed, reach, signals, targets, outputs, marks, told;
const use = index => {
  net = Object.values(data.networks)[index];
  w = unpack(net.weights);
  order = net.directions.map((d, j) => [Math.atan2(d[1], d[0]), j]).sort((a, b) => a[0] - b[0]).map(p => p[1]);
};
const cut = () => { [chain, held, freed, reach] = [0, 0, false, []]; };
const forget = () => {
  [h, c, through] = [zeros(), zeros(), [1, 1]];
  cut();
};
const begin = index => {
  [selected, sample] = [index, 0];
  [steps, signals, targets, outputs, marks] = [[], [], [], [], []];
  forget();
};
const mark = kind => marks.push([outputs.length, kind]);
const step = () => {
  if (+policies.value >= AT_START && sample >= SEQUENCE) {
    [sample, selected] = [0, (selected + 1) % m];
    mark(`${data.frequencies[selected]} Hz`);
  }
  if (+policies.value === EVERY || (+policies.value === AT_START && sample === 0)) forget();
  const s = signal[sample % signal.length], before = c;
  const [gates, nextH, nextC] = lstmStep([s, ...data.frequencies.map((_, k) => +(k === selected))], h, c);
  steps.push({gates, before, through, h: nextH, c: nextC});
  [h, c, through] = [nextH, nextC, [1, 1]];
  signals.push(s);
  targets.push(Math.sin(2 * Math.PI * data.frequencies[selected] * sample / data.rate));
  outputs.push(head(h));
  [sample, chain, held, reach] = [sample + 1, chain + 1, held + 1, []];
};
const mse = () => outputs.reduce((sum, y, k) => sum + (y - targets[k]) ** 2, 0) / outputs.length;

// Back-propagation through time, from the last output to the cut: how far its gradient with respect to each h reaches.
const transposed = (weight, x, size) => Float64Array.from({length: size}, (_, j) =>
  x.reduce((sum, v, row) => sum + v * weight[row * size + j], 0));
const slope = {tanh: a => 1 - a * a, relu: a => +(a > 0), identity: () => 1}[data.activation];
const back = () => {
  const inside = plus(w.head_bias, w.head_weight, steps.at(-1).h).map(activation);
  let dh = transposed(w.head_weight, inside.map((a, k) => w.out_weight[k] * slope(a)), n), dc = zeros();
  const norms = [];
  for (const {gates, before, through, c} of steps.slice(-chain).reverse()) {
    norms.unshift(Math.hypot(...dh));
    const drive = new Float64Array(4 * n), earlier = zeros();
    for (let j = 0; j < n; j++) {
      const [i, f, g, o] = [0, 1, 2, 3].map(k => gates[k * n + j]), t = Math.tanh(c[j]);
      const d = dc[j] + dh[j] * o * (1 - t * t);
      [drive[j], drive[n + j]] = [d * g * i * (1 - i), d * before[j] * f * (1 - f)];
      [drive[2 * n + j], drive[3 * n + j]] = [d * i * (1 - g * g), dh[j] * t * o * (1 - o)];
      earlier[j] = through[1] * d * f;
    }
    [dh, dc] = [transposed(w.weight_hh, drive, n).map(v => through[0] * v), earlier];
  }
  return norms;
};

const WIDE = 400, STRIP = 200; // samples shown: of the signals and the chain, and of the states

const drawSignals = first => { // left above: 10..610, 24..170
  const curve = values => values.slice(first).map((v, k) => [10 + 1.5 * k, 97 - 54 * Math.max(-1.3, Math.min(1.3, v))]);
  line([[10, 97], [610, 97]], look.rule, 1);
  line(curve(signals), look.grey, 0.7);
  line(curve(targets), look.pale, 5);
  line(curve(outputs), look.red, 1.6);
  text("last 400 samples, −1 to 1:", 10, 14, look.ink, "bold 12px sans-serif");
  text("input S", 195, 14);
  text("target", 252, 14, look.blue);
  text("output", 304, 14, look.red);
};
const drawOrbit = () => { // right above: centre (730, 97)
  const along = (h, d) => h.reduce((sum, v, j) => sum + (v - net.centre[j]) * net.directions[j][d], 0) / net.scale;
  const path = steps.slice(-1000).map(({h}) => [730 + 78 * along(h, 0), 97 - 72 * along(h, 1)]);
  text("orbit of h", 650, 14, look.ink, "bold 12px sans-serif");
  line(path, look.blue, 1);
  if (path.length) bar(...path.at(-1).map(v => v - 4), 8, 8, look.red);
};
const drawChain = first => { // 10..610, 186..226, below the signals and on their axis
  const x = k => 10 + 1.5 * (k - first), start = outputs.length - chain;
  text("gradient chain", 10, 194, look.ink, "bold 12px sans-serif");
  text(chain ? `the gradient can go back over ${chain} ${chain === 1 ? "sample" : "samples"}` : "nothing to go back over",
    122, 194, look.blue);
  for (let k = first; k < outputs.length; k++) bar(x(k), 204, 1.1, 14, k >= start ? look.blue : look.rule);
  if (reach.length) {
    const most = Math.max(...reach);
    text("red: the gradient's norm", 470, 194, look.red);
    line(reach.map((v, k) => [x(start + k), 220 - 18 * v / most]).filter(p => p[0] >= 10), look.red, 1.6);
  }
  for (const [at, kind] of marks) {
    if (at < first) continue;
    bar(x(at) - 1, 199, 2, 24, look.red);
    text(kind, x(at) + 3, 228, look.red, "11px sans-serif");
  }
};
const drawStates = () => { // h at 10..405, c at 425..820, 252..372
  const shown = steps.slice(-STRIP);
  const image = new ImageData(STRIP, n);
  ["h", "c"].forEach((name, which) => {
    const [left, swing] = [10 + 415 * which, net.swing[which]];
    for (let k = 0; k < STRIP; k++) {
      for (let row = 0; row < n; row++) {
        const j = order[row], v = k < shown.length ? shown[k][name][j] / swing[j] : 0;
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
  if (![...h, ...c].some(Number)) return text("none before the next sample", 110, 396);
  const {gates, before} = steps.at(-1);
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
  menu.value = selected;
  const error = outputs.length ? `, mean squared error so far ${mse().toExponential(1)}` : "";
  say.textContent = `${message} ${data.frequencies[selected]} Hz, step ${outputs.length}, gradient chain ${chain}, `
    + `memory ${(held * data.bytes / 1000).toFixed(0)} kB${error}.`;
};
const actions = {
  step: () => { step(); draw("One sample entered."); },
  run: () => { for (let k = 0; k < 50; k++) step(); draw("Fifty samples entered, one by one."); },
  play: () => {
    if (stop()) draw("Paused.");
    else start(() => { step(); step(); draw("Playing."); });
  },
  reset: () => {
    forget();
    mark("reset");
    draw("Reset: h and c are zero, the clock starts again.");
  },
  detach: () => { cut(); mark("detach"); draw("Detached: the numbers stay, the way back is cut."); },
  backward: () => {
    if (!chain) return draw("There is no output with a graph: take a step first.");
    if (freed) return draw("PyTorch would refuse: the graph has been used up. Detach after each backward pass.");
    [reach, held, freed] = [back(), 0, true];
    draw(`The gradient of the last output went back through ${chain} states; the graph's memory is freed.`);
  },
  zero_h: () => {
    [h, through] = [zeros(), [0, through[1]]];
    mark("h = 0");
    draw("h is zero, c is kept: one sample later, h is made from c again.");
  },
  zero_c: () => {
    [c, through] = [zeros(), [through[0], 0]];
    mark("c = 0");
    draw("c is zero, h is kept: for one sample more.");
  },
};
const anew = told => {
  stop();
  begin(+menu.value);
  draw(told);
};
bind(actions);
unit.addEventListener("input", () => draw(told));
menu.addEventListener("change", () => anew("A new sequence."));
networks.addEventListener("change", () => { use(networks.selectedIndex); anew("Another network, a new sequence."); });
policies.addEventListener("change", () => draw(`From the next sample on: ${policies.selectedOptions[0].text}.`));
root.live = {begin, step, outputs: () => outputs, reach: () => reach};
use(0);
begin(data.selected);
for (let k = 0; k < data.entered; k++) step();
told = `${data.entered} samples have entered, one by one.`;
follow(() => draw(told));
