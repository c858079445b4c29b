const canvas = element.querySelector("canvas"), size = element.querySelector(".painter-size");
const erase = element.querySelector(".painter-erase"), count = element.querySelector(".painter-count");
let width = 0, height = 0, hole = [], picture = null, down = null, at = [0, 0], focused = false, sent = "", shown = "";

function draw() {
  const context = canvas.getContext("2d");
  if (!width) { canvas.width = canvas.height = 1; return; }
  const scale = Math.max(1, Math.floor(560 / Math.max(width, height)));
  canvas.width = width * scale; canvas.height = height * scale;
  context.imageSmoothingEnabled = false;
  if (picture) context.drawImage(picture, 0, 0, canvas.width, canvas.height);
  context.fillStyle = "rgba(255, 105, 0, 0.82)";
  for (let i = 0; i < hole.length; i++)
    if (hole[i]) context.fillRect((i % width) * scale, Math.floor(i / width) * scale, scale, scale);
  if (focused) {
    context.strokeStyle = "#ff6900"; context.lineWidth = 2;
    const [x, y, side] = square(at[0], at[1]);
    context.strokeRect(x * scale, y * scale, side * scale, side * scale);
  }
}
function square(x, y) {
  const side = Math.min(Number(size.value), width, height);
  const first = (place, most) => Math.max(0, Math.min(most - side, Math.round(place - side / 2)));
  return [first(x, width), first(y, height), side];
}
function paint(x, y, missing) {
  const [left, top, side] = square(x, y);
  for (let row = top; row < top + side; row++) for (let column = left; column < left + side; column++) hole[row * width + column] = missing;
}
function place(event) {
  const box = canvas.getBoundingClientRect();
  return [((event.clientX - box.left) / box.width) * width, ((event.clientY - box.top) / box.height) * height];
}
function line(from, to, missing) {
  const steps = Math.max(1, Math.ceil(Math.hypot(to[0] - from[0], to[1] - from[1]) * 2));
  for (let i = 0; i <= steps; i++) paint(from[0] + ((to[0] - from[0]) * i) / steps, from[1] + ((to[1] - from[1]) * i) / steps, missing);
}
const kept = () => (sent.includes("1") ? sent : "");
function say() { count.textContent = width ? `${hole.filter(Boolean).length} of ${width * height} pixels missing` : ""; }
function tell() {
  say(); draw();
  sent = hole.map((each) => (each ? "1" : "0")).join("");
  props.value = { ...props.value, hole: kept() };
}
const isErasing = () => erase.getAttribute("aria-pressed") === "true";
canvas.addEventListener("pointerdown", (event) => {
  if (!width) return;
  canvas.setPointerCapture(event.pointerId); down = place(event); line(down, down, !isErasing()); draw(); event.preventDefault(); canvas.focus();
});
canvas.addEventListener("pointermove", (event) => {
  if (down === null) return;
  const to = place(event); line(down, to, !isErasing()); down = to; draw();
});
for (const end of ["pointerup", "pointercancel"]) canvas.addEventListener(end, () => { if (down !== null) { down = null; tell(); } });
canvas.addEventListener("keydown", (event) => {
  const moves = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }, move = moves[event.key];
  if (move) { at = [Math.max(0, Math.min(width, at[0] + move[0])), Math.max(0, Math.min(height, at[1] + move[1]))]; draw(); }
  else if (event.key === " " || event.key === "Backspace") { paint(at[0], at[1], event.key === " "); tell(); }
  else return;
  event.preventDefault();
});
canvas.addEventListener("focus", () => { focused = canvas.matches(":focus-visible"); draw(); });
canvas.addEventListener("blur", () => { focused = false; draw(); });
erase.addEventListener("click", () => erase.setAttribute("aria-pressed", String(!isErasing())));
element.querySelector(".painter-clear").addEventListener("click", () => { hole.fill(false); tell(); });
element.querySelector(".painter-box").addEventListener("click", () => {
  const side = Math.floor(Math.min(width, height) / 3);
  for (let row = 0; row < side; row++) for (let column = 0; column < side; column++)
    hole[(row + Math.floor((height - side) / 2)) * width + column + Math.floor((width - side) / 2)] = true;
  tell();
});
function load() {
  const value = props.value;
  if (!value || !value.source) return;
  if (picture && shown === value.source) {  // the same image, told again: what is painted on it stays
    if ((value.hole || "") !== kept()) props.value = { ...value, hole: kept() };
    return;
  }
  width = value.width; height = value.height; at = [width / 2, height / 2];
  const painted = value.hole && value.hole.length === width * height ? value.hole : "";  // of this part, laid out anew
  hole = Array.from({ length: width * height }, (_, i) => painted[i] === "1");
  sent = painted; shown = value.source; picture = new Image();
  picture.onload = () => { draw(); say(); };
  picture.src = value.source;
  canvas.setAttribute("aria-label", `${value.description}. Arrow keys move the brush, space paints, backspace takes away.`);
}
watch("value", load);
load();
