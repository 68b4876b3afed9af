// A picture that was steered, beside what steered it. `props.value` is {cells}, each with its picture and
// with the pictures and maps of its controls; any of these is laid over the result by compare.js.

const root = element.querySelector(".cs-followed");
const comparison = makeComparison(element);
const SIDE = 256; // at most, of a picture on the screen
let chosen = null; // place of a cell, once someone chose one

function show() {
  const cells = props.value?.cells || [];
  root.replaceChildren();
  root.hidden = !cells.length;
  if (!cells.length) return;
  const at = chosen !== null && chosen < cells.length ? chosen : mostSteered(cells);
  const cell = cells[at];
  const head = make("div", "cs-tools");
  head.append(make("h3", "cs-title", "How well it was followed"));
  if (cells.length > 1) head.append(chooser(cells, at));
  const row = make("div", "cs-edit-pair");
  row.append(...cell.pictures.map((one) => figure(cell, one)), figure(cell, { name: "Result", src: cell.src }));
  root.append(head, row);
}

function mostSteered(cells) {
  const strengths = cells.map((cell) => cell.strength);
  return strengths.indexOf(Math.max(...strengths));
}

function chooser(cells, at) {
  const node = make("select", "cs-button");
  node.setAttribute("aria-label", "Which picture");
  cells.forEach((cell, i) => node.append(new Option(cell.label || `Picture ${i + 1}`, i)));
  node.value = at;
  node.addEventListener("change", () => {
    chosen = Number(node.value);
    show();
    root.querySelector("select").focus();
  });
  return node;
}

function figure(cell, { name, src }) {
  const box = make("figure", "cs-edit-figure");
  const image = make("img");
  const beside = cell.pictures.length + 1;
  const side = Math.min(SIDE, Math.max(110, (element.clientWidth - 16 * beside) / beside));
  const room = side / Math.max(cell.width, cell.height);
  const whole = Math.floor(room);
  const scale = whole >= 1 ? whole : room;
  Object.assign(image, { src, alt: `${name} of ${cell.label || "this picture"}` });
  image.style.width = box.style.width = `${Math.round(cell.width * scale)}px`;
  image.style.aspectRatio = `${cell.width} / ${cell.height}`;
  image.classList.toggle("cs-sharp", whole >= 1);
  box.append(make("figcaption", "cs-note", name), image);
  if (src !== cell.src) {
    const over = (mode) => {
      const size = { width: cell.width, height: cell.height };
      comparison.show({ ...size, src, name }, { ...size, src: cell.src, name: "Result" }, mode);
    };
    const actions = make("div", "cs-actions");
    for (const [mode, text] of [["slider", "Slider"], ["overlay", "Overlay"]]) {
      const node = button(text, () => over(mode));
      node.setAttribute("aria-label", `${text}: ${name} and result`);
      actions.append(node);
    }
    box.append(actions);
  }
  return box;
}

watch("value", show);
show();
