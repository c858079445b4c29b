const cells = element.querySelector(".latent-cells"), told = element.querySelector(".latent-told");
const moves = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
let shown = null, columns = 1;

function name(i) {
  const middle = shown.middle === i ? ", the middle" : "";
  return `Row ${Math.floor(i / columns) + 1}, column ${(i % columns) + 1}${middle}`;
}
function choose(i) {
  [...cells.children].forEach((each, place) => each.setAttribute("aria-pressed", String(place === i)));
  told.textContent = `Chosen: ${name(i).toLowerCase()}.`;
  trigger("select", { index: i, value: i });
}
function focus(i) {
  [...cells.children].forEach((each, place) => { each.tabIndex = place === i ? 0 : -1; });
  cells.children[i].focus();
}
function cell(source, i) {
  const button = document.createElement("button"), image = document.createElement("img");
  button.type = "button"; button.tabIndex = i === (shown.middle ?? 0) ? 0 : -1;
  button.setAttribute("aria-label", name(i)); button.setAttribute("aria-pressed", "false");
  if (shown.middle === i) button.className = "middle";
  image.src = source; image.alt = "";
  button.append(image);
  button.addEventListener("click", () => { focus(i); choose(i); });
  button.addEventListener("keydown", (event) => {
    const move = moves[event.key];
    if (!move) return;
    const column = (i % columns) + move[0], row = Math.floor(i / columns) + move[1];
    if (column >= 0 && column < columns && row >= 0 && row * columns + column < shown.pictures.length) focus(row * columns + column);
    event.preventDefault();
  });
  return button;
}
function load() {
  const value = props.value;
  if (!value || !value.pictures || (shown && value.key === shown.key)) return;
  shown = value; columns = value.columns;
  cells.style.setProperty("--columns", columns);
  cells.setAttribute("aria-label", value.description);
  cells.replaceChildren(...value.pictures.map(cell));
  told.textContent = "";
}
watch("value", load);
load();
