// What the page shows and hears. What is computed stands in the other script, above.

const SAMPLES = 16; // new images at a time
const ANSWERS = 4;
const LARGE = 320; // pixels of the screen that the longer side of the picture to paint on takes
const LINES = 28; // steps of the keyboard from one end of a picture to the other

const $ = (id) => document.getElementById(id);
const facts = JSON.parse($("facts").textContent);
const [channels, height, width] = facts.shape;
const size = channels * height * width;

// Work waits for its turn: the networks have one thread.
let turn = Promise.resolve();
function inTurn(work) {
  const done = turn.then(work);
  turn = done.catch((error) => say($("state"), `Something went wrong: ${error.message}`));
  return done;
}

function say(element, text) {
  element.textContent = text;
}

// Draws an image on a canvas of its own pixels; what the sheet makes of its size keeps them square.
function draw(canvas, image) {
  canvas.width = width;
  canvas.height = height;
  const context = canvas.getContext("2d"), pixels = context.createImageData(width, height), area = height * width;
  for (let i = 0; i < area; i++) {
    for (let c = 0; c < 3; c++) pixels.data[4 * i + c] = 255 * image[(channels === 1 ? 0 : c) * area + i] + 0.5;
    pixels.data[4 * i + 3] = channels === 4 ? 255 * image[3 * area + i] + 0.5 : 255;
  }
  context.putImageData(pixels, 0, 0);
}

function pictured(image, label) {
  const canvas = document.createElement("canvas");
  canvas.setAttribute("role", "img");
  canvas.setAttribute("aria-label", label);
  draw(canvas, image);
  return canvas;
}

// New images.

let shown = 0; // images that the grid has

async function more(model) {
  const rows = facts.way === "denoiser" ? 4 : SAMPLES; // a denoiser is slow: the first images show before the last
  $("more").disabled = true;
  let time = 0;
  for (let done = 0; done < SAMPLES; done += rows) {
    const numbers = Array.from({length: rows}, (_, i) => shown + i);
    shown += rows;
    await inTurn(async () => {
      const began = performance.now();
      const images = await model.images(numbers.map((number) => model.draw(number)));
      time += performance.now() - began;
      $("samples").append(...images.map((x, i) => chooser(x, numbers[i] + 1)));
    });
  }
  $("more").disabled = false;
  say($("sampled"), `${shown} images. The last ${SAMPLES} took ${(time / SAMPLES).toFixed(0)} ms each.`);
}

// A picture that is painted on once it is chosen.
function chooser(x, number) {
  const button = document.createElement("button");
  button.type = "button";
  button.append(pictured(x, ""));
  button.setAttribute("aria-label", `Image ${number}: paint a hole into it`);
  button.addEventListener("click", () => {
    choose(x, `Image ${number}.`);
    $("hole").scrollIntoView();
    $("paint").focus({preventScroll: true});
  });
  return button;
}

// Between two images.

let wished = 0; // requests so far: of those that wait, only the last one is computed
let ends = {}; // images at both ends, by their numbers from 0

async function blend(model) {
  const own = ++wished, share = $("share").value / 100;
  const [a, b] = ["from", "to"].map((id) => Math.max(1, Math.floor($(id).valueAsNumber) || 1) - 1);
  await inTurn(async () => {
    if (own !== wished) return;
    const missing = [a, b].filter((number) => !(number in ends));
    const made = await model.images(missing.map((number) => model.draw(number)));
    const both = {...ends, ...Object.fromEntries(missing.map((number, i) => [number, made[i]]))};
    ends = {[a]: both[a], [b]: both[b]};
    const began = performance.now();
    const [image] = await model.images([model.between(model.draw(a), model.draw(b), share)]);
    [["first", both[a]], ["last", both[b]], ["blended", image]].forEach(([id, x]) => draw($(id), x));
    const words = `${$("share").value} % of the way from image ${a + 1} to image ${b + 1}`;
    $("blended").setAttribute("aria-label", words);
    $("share").setAttribute("aria-valuetext", words);
    say($("blend-told"), `${words}. It took ${(performance.now() - began).toFixed(0)} ms.`);
  });
}

// The picture with a hole.

let image = null; // that is painted on
const known = new Float32Array(height * width).fill(1);
const cursor = {x: Math.floor(width / 2), y: Math.floor(height / 2), seen: false};

function choose(next, name) {
  image = next;
  known.fill(1);
  $("answers").replaceChildren();
  say($("chosen"), name);
  say($("filled"), "");
  paint();
}

// Shows the image, the hole hatched on it, and the cursor of the keyboard.
function paint() {
  const canvas = $("paint"), cell = Math.max(1, Math.floor(LARGE / Math.max(height, width)));
  const small = pictured(image, ""), context = canvas.getContext("2d");
  canvas.width = cell * width;
  canvas.height = cell * height;
  context.imageSmoothingEnabled = false;
  context.drawImage(small, 0, 0, canvas.width, canvas.height);
  known.forEach((value, i) => {
    if (value) return;
    const x = (i % width) * cell, y = Math.floor(i / width) * cell;
    context.fillStyle = "#c9503c";
    context.fillRect(x, y, cell, cell);
    context.fillStyle = "#ffffff";
    context.fillRect(x, y, Math.ceil(cell / 3), Math.ceil(cell / 3));
  });
  if (cursor.seen) {
    const reach = brush() * cell, corner = [(cursor.x + 0.5) * cell - reach / 2, (cursor.y + 0.5) * cell - reach / 2];
    for (const [colour, wide] of [["#000000", 4], ["#ffffff", 2]]) {
      context.strokeStyle = colour;
      context.lineWidth = wide;
      context.strokeRect(...corner, reach, reach);
    }
  }
  const holes = known.length - known.reduce((sum, value) => sum + value, 0);
  say($("holes"), holes ? `The hole has ${holes} of ${known.length} pixels.` : "There is no hole yet.");
  $("fill").disabled = !holes || !image || !ready || busy;
  return holes;
}

const brush = () => Math.max(1, Math.round($("brush").value / 100 * Math.min(height, width)));

// Makes pixels about a place unknown, or known again.
function dab(x, y) {
  const reach = (brush() - 1) / 2;
  for (let row = Math.ceil(y - reach); row <= y + reach; row++) {
    for (let column = Math.ceil(x - reach); column <= x + reach; column++) {
      if (row >= 0 && row < height && column >= 0 && column < width) known[row * width + column] = +$("erase").checked;
    }
  }
}

function stroke(a, b) {
  const steps = Math.max(1, Math.ceil(Math.hypot(b[0] - a[0], b[1] - a[1])));
  for (let i = 0; i <= steps; i++) {
    dab(Math.round(a[0] + (b[0] - a[0]) * i / steps), Math.round(a[1] + (b[1] - a[1]) * i / steps));
  }
  paint();
}

function listenToPaint() {
  const canvas = $("paint");
  let last = null;
  const place = (event) => {
    const box = canvas.getBoundingClientRect();
    return [Math.floor((event.clientX - box.left) / box.width * width), Math.floor((event.clientY - box.top) / box.height * height)];
  };
  canvas.addEventListener("pointerdown", (event) => {
    cursor.seen = false;
    canvas.setPointerCapture(event.pointerId);
    last = place(event);
    stroke(last, last);
  });
  canvas.addEventListener("pointermove", (event) => {
    if (!last) return;
    const next = place(event);
    stroke(last, next);
    last = next;
  });
  for (const end of ["pointerup", "pointercancel"]) canvas.addEventListener(end, () => { last = null; });
  canvas.addEventListener("focus", () => { cursor.seen = canvas.matches(":focus-visible"); paint(); });
  canvas.addEventListener("blur", () => { cursor.seen = false; paint(); });
  canvas.addEventListener("keydown", (event) => {
    const step = Math.max(1, Math.round(Math.max(height, width) / LINES));
    const moves = {ArrowLeft: [-step, 0], ArrowRight: [step, 0], ArrowUp: [0, -step], ArrowDown: [0, step], " ": [0, 0]};
    const move = moves[event.key];
    if (!move || event.ctrlKey || event.altKey || event.metaKey) return;
    event.preventDefault();
    cursor.seen = true;
    cursor.x = Math.min(width - 1, Math.max(0, cursor.x + move[0]));
    cursor.y = Math.min(height - 1, Math.max(0, cursor.y + move[1]));
    if (event.key === " " || event.shiftKey) dab(cursor.x, cursor.y); // Shift and an arrow paint on the way
    paint();
    say($("place"), `Column ${cursor.x + 1}, row ${cursor.y + 1}: ${known[cursor.y * width + cursor.x] ? "kept" : "hole"}.`);
  });
}

let asked = 0; // answers so far: each time others

let busy = false; // one search at a time

async function fill(model) {
  if (busy) return;
  const seed = asked++, task = [image, known.slice()];
  busy = true;
  $("fill").disabled = true;
  $("answers").replaceChildren();
  say($("filled"), "Looking for images that fit ...");
  const began = performance.now();
  let found;
  try {
    found = await inTurn(() => model.fill(...task, ANSWERS, seed));
  } finally {
    busy = false;
    paint();
  }
  const time = performance.now() - began;
  if (task[0] !== image) return; // another image was chosen meanwhile
  const places = placesOf(task[1], size);
  $("answers").append(...found.map((x, i) => {
    const figure = document.createElement("figure"), caption = document.createElement("figcaption");
    const whole = x.map((value, k) => (task[1][k % known.length] ? task[0][k] : Math.min(1, Math.max(0, value))));
    const miss = facts.way === "denoiser" ? "" : `, off by ${(100 * missOf(x, task[0], places)).toFixed(0)}\u00a0%`;
    say(caption, `Answer ${i + 1}${miss}`);
    figure.append(pictured(whole, `Answer ${i + 1}: your image with the hole filled`), caption);
    return figure;
  }));
  genprior.answers = found; // for whoever looks at the numbers
  const rest = facts.way === "denoiser" ? "" : " “Off by” says how far the model's own image is from what you kept.";
  say($("filled"), `${ANSWERS} answers in ${time.toFixed(0)} ms, ${(time / ANSWERS).toFixed(0)} ms each.${rest}`);
}

// A picture of the visitor's: the middle of it, in the model's shape, on white.
async function take(file) {
  try {
    const picture = await createImageBitmap(file), canvas = document.createElement("canvas");
    canvas.width = width;
    canvas.height = height;
    const context = canvas.getContext("2d"), scale = Math.max(width / picture.width, height / picture.height);
    const [w, h] = [picture.width * scale, picture.height * scale];
    if (channels < 4) {
      context.fillStyle = "#ffffff";
      context.fillRect(0, 0, width, height);
    }
    context.imageSmoothingQuality = "high";
    context.drawImage(picture, (width - w) / 2, (height - h) / 2, w, h);
    const pixels = context.getImageData(0, 0, width, height).data, area = height * width, found = new Float32Array(size);
    for (let i = 0; i < area; i++) {
      const [r, g, b, a] = pixels.subarray(4 * i, 4 * i + 4);
      if (channels === 1) found[i] = (0.299 * r + 0.587 * g + 0.114 * b) / 255;
      else [r, g, b, a].slice(0, channels).forEach((value, c) => { found[c * area + i] = value / 255; });
    }
    choose(found, `Your picture ${file.name}.`);
  } catch {
    say($("chosen"), `${file.name} is no picture that this browser can read.`);
  }
}

// Swaps light and dark; transparency stays.
function negative() {
  if (image) choose(image.map((value, i) => (i < 3 * height * width ? 1 - value : value)), "Light and dark are swapped.");
}

let ready = false;
const genprior = {facts, known}; // for the console, and for tests
window.genprior = genprior;

async function begin() {
  const began = performance.now();
  const model = await opened(facts, facts.networks);
  genprior.model = model;
  ready = true;
  $("more").addEventListener("click", () => more(model));
  $("fill").addEventListener("click", () => fill(model));
  for (const id of ["share", "from", "to"]) $(id).addEventListener("input", () => blend(model));
  $("next").addEventListener("click", () => {
    $("from").value = $("to").value;
    $("to").value = $("to").valueAsNumber + 1;
    $("share").value = 0;
    blend(model);
  });
  $("another").addEventListener("click", async () => {
    const number = Math.floor($("one").valueAsNumber) || 1;
    choose((await inTurn(() => model.images([model.draw(number - 1)])))[0], `Image ${number}.`);
    $("one").value = number + 1;
  });
  say($("state"), `Ready. Opening took ${((performance.now() - began) / 1000).toFixed(1)} s.`);
  for (const control of document.querySelectorAll("main [disabled]")) control.disabled = control.id === "fill";
  await more(model);
  await blend(model);
  $("another").click();
}

listenToPaint();
$("clear").addEventListener("click", () => { known.fill(1); paint(); });
$("middle").addEventListener("click", () => {
  known.forEach((_, i) => {
    const off = [(i % width + 0.5) / width, (Math.floor(i / width) + 0.5) / height].map((share) => Math.abs(share - 0.5));
    if (Math.max(...off) < 0.2) known[i] = 0;
  });
  paint();
});
$("lower").addEventListener("click", () => {
  known.forEach((_, i) => { if (i >= Math.floor(height / 2) * width) known[i] = 0; });
  paint();
});
$("brush").addEventListener("input", () => paint());
$("negative").addEventListener("click", negative);
$("file").addEventListener("change", () => { if ($("file").files[0]) take($("file").files[0]); });
for (const kind of ["dragover", "drop"]) {
  document.addEventListener(kind, (event) => {
    event.preventDefault();
    if (kind === "drop" && event.dataTransfer.files[0]) take(event.dataTransfer.files[0]);
  });
}
image = new Float32Array(size);
paint();
begin().catch((error) => say($("state"), `This browser cannot run the page: ${error.message}`));
