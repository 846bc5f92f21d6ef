// The extractor beside the Kalman filter, on signals that the page itself draws. What live_common.js defines is known.
const {frequencies, rate, amplitude} = data, m = frequencies.length, TURN = 2 * Math.PI;
const [SECOND, TENTH, EVERY] = [1, 10, 100].map(part => Math.max(1, Math.round(rate / part)));
const SHOWN = 10; // s on the axis of the errors
const omega = frequencies.map(f => TURN * f / rate), cosines = omega.map(Math.cos), sines = omega.map(Math.sin);

let seed = 1; // the same draws whenever the page is loaded
const random = () => { // mulberry32: between 0 and 1
  seed = seed + 0x6D2B79F5 | 0;
  let z = Math.imul(seed ^ seed >>> 15, 1 | seed);
  z = z + Math.imul(z ^ z >>> 7, 61 | z) ^ z;
  return ((z ^ z >>> 14) >>> 0) / 2 ** 32;
};

// The noise: A uniform between the two amplitudes, φ uniform within ±απ; what is left of each sine, and the variance.
const [low, high] = amplitude, square = (low * low + low * high + high * high) / 3;
let alpha, gain, noise;
const widen = value => {
  alpha = value;
  gain = (low + high) / 2 * (alpha ? Math.sin(Math.PI * alpha) / (Math.PI * alpha) : 1) / m;
  noise = m * (square / m ** 2 - gain ** 2) / 2;
};

let selected = data.selected, theta, sample, h, c, state, covariance;
let signals, targets, outputs, estimates, trace, marks;
const begin = () => {
  [sample, h, c, state, covariance] = [0, zeros(), zeros(), new Float64Array(2 * m), new Float64Array(4 * m * m)];
  for (let i = 0; i < 2 * m; i++) covariance[(2 * m + 1) * i] = 0.5; // a sine of unknown phase
  [signals, targets, outputs, estimates, trace, marks] = [[], [], [], [], [], []];
};
const newPhases = () => { theta = frequencies.map(() => TURN * random()); };
const turn = (values, first, stride) => { // every sine and its cosine, by one sample
  for (let i = 0, a = first; i < m; i++, a += 2 * stride) {
    const [p, q] = [values[a], values[a + stride]];
    values[a] = cosines[i] * p + sines[i] * q;
    values[a + stride] = cosines[i] * q - sines[i] * p;
  }
};
const correlated = new Float64Array(2 * m); // the state's errors with what S(t) shows of it
const filterStep = s => {
  const size = 2 * m;
  turn(state, 0, 1); // predict
  for (let k = 0; k < size; k++) turn(covariance, k, size);
  for (let k = 0; k < size; k++) turn(covariance, k * size, 1);
  let [miss, power] = [s, noise];
  for (let row = 0; row < size; row++) {
    correlated[row] = 0;
    for (let k = 0; k < size; k += 2) correlated[row] += gain * covariance[row * size + k];
    if (row % 2 === 0) miss -= gain * state[row], power += gain * correlated[row]; // S(t) shows the sines only
  }
  if (power < 1e-15) return; // no noise, and nothing left to learn
  for (let row = 0; row < size; row++) { // correct
    state[row] += correlated[row] / power * miss;
    for (let k = 0; k < size; k++) covariance[row * size + k] -= correlated[row] * correlated[k] / power;
  }
};
const drawn = () => frequencies.reduce((sum, _, i) => sum + (low + (high - low) * random())
  * Math.sin(omega[i] * sample + theta[i] + alpha * Math.PI * (2 * random() - 1)), 0) / m;
const step = (s = drawn()) => {
  [, h, c] = lstmStep([s, ...frequencies.map((_, k) => +(k === selected))], h, c);
  filterStep(s);
  signals.push(s);
  targets.push(Math.sin(omega[selected] * sample + theta[selected]));
  outputs.push(head(h));
  estimates.push(state[2 * selected]);
  sample += 1;
  if (outputs.length > 20 * SECOND) { // a page that plays for hours
    [signals, targets, outputs, estimates] = [signals, targets, outputs, estimates].map(v => v.slice(-SECOND));
    [trace, marks] = [trace, marks].map(v => v.filter(([t]) => t > sample / rate - SHOWN));
  }
  if (sample % EVERY === 0) trace.push([sample / rate, error(estimates), error(outputs)]);
};
const error = values => { // over the last tenth of a second
  const [last, aim] = [values, targets].map(all => all.slice(-TENTH));
  return last.reduce((sum, v, k) => sum + (v - aim[k]) ** 2, 0) / last.length;
};

let wide = 840, told;
const FILTER = () => ["filter", look.blue, 1.8, [6, 3]], EXTRACTOR = () => ["extractor", look.red, 1.8, []];
const axis = (name, y, keys) => { // a title, and below it what the lines are
  text(name, 10, y, look.ink, "bold 13px sans-serif");
  keys.forEach(([word, colour, width, dash, share]) => {
    const left = 38 + share * Math.min(330, wide - 50);
    line([[left, y + 14], [left + 18, y + 14]], colour, width, dash);
    text(word, left + 22, y + 18, look.ink);
  });
};
const drawSignals = () => { // 50..200
  const first = Math.max(0, outputs.length - SECOND), across = wide - 48;
  const height = v => 125 - 57 * Math.max(-1.3, Math.min(1.3, v));
  const curve = values => values.slice(first).map((v, k) => [38 + across * k / SECOND, height(v)]);
  axis("the last second", 16, [["S(t)", look.grey, 1, [], 0], ["target", look.pale, 5, [], 0.22],
    [...FILTER(), 0.48], [...EXTRACTOR(), 0.74]]);
  [1, 0, -1].forEach(v => {
    line([[38, height(v)], [38 + across, height(v)]], look.rule, 1);
    text(v < 0 ? "−1" : v, v < 0 ? 16 : 23, height(v) + 4);
  });
  line(curve(signals), look.grey, 0.7);
  line(curve(targets), look.pale, 5);
  line(curve(estimates), ...FILTER().slice(1));
  line(curve(outputs), ...EXTRACTOR().slice(1));
};
const drawErrors = () => { // 260..400
  const now = sample / rate, from = Math.max(0, now - SHOWN), across = wide - 60;
  const place = t => 44 + across * (t - from) / SHOWN;
  const height = v => 264 - 26 * Math.max(-5, Math.min(0.3, Math.log10(Math.max(v, 1e-9))));
  axis("mean squared error over the last 0.1 s", 226, [[...FILTER(), 0], [...EXTRACTOR(), 0.26]]);
  ["1", "0.1", "0.01", "10⁻³", "10⁻⁴", "10⁻⁵"].forEach((word, k) => {
    line([[44, 264 + 26 * k], [44 + across, 264 + 26 * k]], look.rule, 1);
    text(word, 8, 268 + 26 * k);
  });
  for (let t = Math.ceil(from); t <= from + SHOWN; t += wide < 500 ? 2 : 1) text(t, place(t) - 3, 412);
  text("time since the start, s", 44, 430);
  let free = 0;
  for (const [t, kind] of marks.filter(([t]) => t >= from)) {
    line([[place(t), 256], [place(t), 394]], look.ink, 1, [2, 3]);
    if (place(t) > free && place(t) < wide - 60) text(kind, place(t) + 3, 390, look.ink), free = place(t) + 70;
  }
  const recent = trace.filter(([t]) => t >= from);
  [FILTER(), EXTRACTOR()].forEach((how, which) =>
    line(recent.map(point => [place(point[0]), height(point[1 + which])]), ...how.slice(1)));
};
const inWords = v => v < 0.01 ? v.toExponential(1) : v.toFixed(3);
const draw = message => {
  told = message;
  wide = Math.max(280, Math.min(840, canvas.parentElement.clientWidth - 16 || 840));
  [canvas.width, canvas.height, canvas.style.width] = [2 * wide, 880, `${wide}px`];
  pen.setTransform(2, 0, 0, 2, 0, 0); // twice as fine as its size on the page
  bar(0, 0, wide, 440, `rgb(${look.paper})`);
  drawSignals();
  drawErrors();
  say.textContent = `${message} ${frequencies[selected]} Hz, α = ${alpha.toFixed(2)}, ` + (sample ? `${(sample / rate)
    .toFixed(2)} s after the start: over the last 0.1 s the mean squared error is ${inWords(error(estimates))} for the `
    + `filter and ${inWords(error(outputs))} for the extractor.` : "nothing has entered yet.");
};
const [width, phase] = root.querySelectorAll("input"), [widthSaid, phaseSaid] = root.querySelectorAll("output");
const show = message => { // the controls as well
  [width.value, phase.value] = [alpha, theta[selected]];
  [widthSaid.value, phaseSaid.value] = [alpha.toFixed(2), `${theta[selected].toFixed(2)} rad`];
  draw(message);
};
const mark = kind => {
  if (marks.at(-1)?.join() === [sample / rate, kind].join()) marks.pop(); // a slider on its way
  if (sample) marks.push([sample / rate, kind]);
};
const enter = (count, message) => { for (let k = 0; k < count; k++) step(); draw(message); };
bind({
  step: () => enter(50, "Fifty samples entered, one by one."),
  run: () => enter(500, "Five hundred samples entered, one by one."),
  play: () => stop() ? draw("Paused.") : start(() => enter(SECOND / 50, "Playing at half speed.")),
  reset: () => { begin(); show("Both begin anew, with the same start phases."); },
  phases: () => { newPhases(); begin(); show("New start phases: both begin anew and know nothing of them."); },
});
const turned = (control, kind, change, message) => control.addEventListener("input", () => {
  change(+control.value);
  mark(kind);
  show(message);
});
turned(width, "α", widen, "The width of the noise has changed: the filter is told, the extractor is not.");
turned(phase, "phase", value => { theta[selected] = value; },
  "The phase jumps: neither is told, and what both have heard before now misleads them.");
turned(root.querySelector("select"), "selector", value => { selected = value; },
  "Another sine is asked for: S(t) goes on.");
root.live = {begin, step, widen, select: k => { selected = k; }, outputs: () => outputs, estimates: () => estimates};
widen(data.alpha);
newPhases();
begin();
enter(SECOND, "The first second has entered, one sample at a time.");
follow(() => show(told));
new ResizeObserver(() => Math.abs(canvas.parentElement.clientWidth - 16 - wide) > 1 && draw(told)).observe(root);
