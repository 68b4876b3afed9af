// What stands above the map: tools, the brush's size, colours, history; and the keys for all of it.

const TOOLS = {
  edge: [["paint", "Paint", "p"], ["erase", "Erase", "e"]],
  depth: [["lighten", "Nearer", "l"], ["darken", "Farther", "d"]],
  segment: [["paint", "Paint", "p"], ["fill", "Fill", "f"]],
};
const HINTS = {
  edge: "White is an edge. Hold Shift for a straight line.",
  depth: "Bright is near. A stroke changes each place once, by the strength.",
  segment: "Pick a colour, paint or fill. Alt+click takes a colour from the map.",
  pose: "Drag joints, or move them with the arrow keys; double click or Delete hides one.",
  view: "Maps of this kind are used as they are.",
};
const KEYS = "Keys: arrows move the brush, Space dabs, Enter lowers or lifts it, [ and ] change its size.";
const COLOURS_SHOWN = 24;

const choices = make("span", "cs-zoom-tools");
const size = ranged("Size", 1, 200, (value) => setSize(value));
const amount = ranged("Strength", 1, 255, (value) => (brush.amount = value));
const swatches = make("span", "cs-swatches");
const palette = make("select", "cs-button");
palette.setAttribute("aria-label", "All colours");
const colourName = make("span", "cs-note");
const undoButton = button("Undo", undo);
const redoButton = button("Redo", redo);
const againButton = button("Start over", startOver);
undoButton.title = "Ctrl+Z";
redoButton.title = "Ctrl+Shift+Z";
againButton.title = "Back to the map as it was made";
const through = ranged("Picture beneath", 0, 100, (value) => canvas.style.setProperty("--cs-through", 1 - value / 100));
const largeButton = button("Larger", () => setLarge(!large));
const historyTools = make("span", "cs-zoom-tools");
historyTools.append(undoButton, redoButton, againButton);
tools.append(choices, size.box, amount.box, swatches, palette, colourName, historyTools, through.box, largeButton);
root.insertBefore(people, hint);

function ranged(text, min, max, act) {
  const box = make("label", "cs-sizer", text);
  const input = make("input");
  Object.assign(input, { type: "range", min, max });
  input.addEventListener("input", () => act(Number(input.value)));
  box.append(input);
  return { box, input };
}

function drawTools() {
  const kind = given.kind;
  choices.replaceChildren();
  for (const [id, text, key] of TOOLS[kind] || []) {
    const node = button(text, () => setTool(id));
    node.dataset.tool = id;
    node.title = `Key ${key.toUpperCase()}`;
    choices.append(node);
  }
  if (TOOLS[kind]) setTool(TOOLS[kind][0][0]);
  size.box.hidden = choices.hidden = !paints();
  amount.box.hidden = kind !== "depth";
  size.input.max = Math.round(Math.max(pixels.width, pixels.height) / 2);
  setSize(brush.size);
  amount.input.value = brush.amount;
  through.box.hidden = !given.source;
  through.input.value = 0;
  canvas.style.setProperty("--cs-through", 1);
  historyTools.hidden = kind === "view" || !kind;
  canvas.tabIndex = paints() ? 0 : -1;
  canvas.setAttribute("aria-label", "The map");
  canvas.setAttribute("aria-description", paints() ? KEYS : HINTS[kind] || "");
  canvas.setAttribute("role", paints() ? "application" : "img");
  fill(hint, HINTS[kind] || "");
  drawColours();
  drawHistory();
}

function setTool(id) {
  brush.tool = id;
  for (const node of choices.children) node.setAttribute("aria-pressed", String(node.dataset.tool === id));
  moveCursor();
}

function setSize(value) {
  brush.size = limit(Math.round(value), 1, Number(size.input.max));
  size.input.value = brush.size;
  size.input.title = `${brush.size} pixels of the map`;
  moveCursor();
}

function setLarge(on) {
  large = on;
  largeButton.setAttribute("aria-pressed", String(on));
  fit();
}

function drawHistory() {
  // A button that has nothing left to do gives the focus to its neighbour, not to nobody.
  const focused = document.activeElement;
  undoButton.disabled = !past.length;
  redoButton.disabled = !future.length;
  if (focused === undoButton && !past.length) redoButton.focus();
  if (focused === redoButton && !future.length) undoButton.focus();
}

// ---- colours of segments

const hex = (colour) => `#${[...colour].map((value) => value.toString(16).padStart(2, "0")).join("")}`;
const fromHex = (text) => [1, 3, 5].map((i) => parseInt(text.slice(i, i + 2), 16));
const nameOf = (text) => (given.palette || []).find((one) => one.colour === text)?.name || text;

function drawColours() {
  const segments = given.kind === "segment";
  swatches.hidden = palette.hidden = colourName.hidden = !segments;
  if (!segments) return;
  const counts = new Map();
  for (let i = 0; i < pixels.data.length; i += 4) {
    const key = (pixels.data[i] << 16) | (pixels.data[i + 1] << 8) | pixels.data[i + 2];
    counts.set(key, (counts.get(key) || 0) + 1);
  }
  const most = [...counts].sort((a, b) => b[1] - a[1]).slice(0, COLOURS_SHOWN);
  swatches.replaceChildren(...most.map(([key]) => swatch([key >> 16, (key >> 8) & 255, key & 255])));
  palette.replaceChildren(new Option("All colours…", ""));
  for (const { name, colour } of given.palette || []) palette.append(new Option(name, colour));
  palette.hidden = !given.palette?.length;
  setColour(fromHex(swatches.firstChild.dataset.colour));
}

function swatch(colour) {
  const text = hex(colour);
  const node = button("", () => setColour(colour));
  node.className = "cs-swatch";
  node.dataset.colour = text;
  node.title = nameOf(text);
  node.setAttribute("aria-label", `Colour ${nameOf(text)}`);
  node.style.background = text;
  return node;
}

function setColour(colour) {
  const text = hex(colour);
  brush.colour = colour;
  let chosen = swatches.querySelector(`[data-colour="${text}"]`);
  if (!chosen) swatches.append((chosen = swatch(colour)));
  for (const node of swatches.children) node.setAttribute("aria-pressed", String(node === chosen));
  palette.value = "";
  fill(colourName, nameOf(text));
}
palette.addEventListener("change", () => palette.value && setColour(fromHex(palette.value)));

// ---- keys

root.addEventListener("keydown", (event) => {
  if (!(event.ctrlKey || event.metaKey) || event.altKey || !pixels) return;
  const key = event.key.toLowerCase();
  const act = key === "z" ? (event.shiftKey ? redo : undo) : key === "y" ? redo : null;
  if (!act) return;
  event.preventDefault();
  if (!stroke && !dragged) act();
});

canvas.addEventListener("keydown", (event) => {
  if (!paints() || event.ctrlKey || event.metaKey || event.altKey) return;
  const by = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
  const chosen = (TOOLS[given.kind] || []).find(([, , key]) => key === event.key.toLowerCase());
  if (by) moveByKey(by, event.shiftKey ? 8 : 1);
  else if (chosen) setTool(chosen[0]);
  else if (event.key === " ") dab();
  else if (event.key === "Enter") lower(!penDown);
  else if (event.key === "Escape" && penDown) lower(false);
  else if (event.key === "[" || event.key === "]") setSize(brush.size + (event.key === "[" ? -1 : 1));
  else return;
  event.preventDefault();
  event.stopPropagation();
});
canvas.addEventListener("focus", () => {
  if (!paints() || !canvas.matches(":focus-visible")) return;
  home();
  moveCursor();
  fill(hint, KEYS);
});
canvas.addEventListener("blur", () => {
  fill(hint, HINTS[given.kind] || "");
  if (penDown) lower(false);
  cursor = null;
  moveCursor();
});

function home() {
  cursor ||= [Math.floor(canvas.width / 2) + 0.5, Math.floor(canvas.height / 2) + 0.5];
}

function moveByKey([dx, dy], step) {
  home();
  cursor = [limit(cursor[0] + dx * step, 0.5, canvas.width - 0.5), limit(cursor[1] + dy * step, 0.5, canvas.height - 0.5)];
  if (penDown && stroke) follow(cursor);
  moveCursor();
}

function dab() {
  home();
  if (brush.tool === "fill") return flood(cursor);
  if (penDown) return;
  begin(cursor);
  end();
}

function lower(down) {
  home();
  if (brush.tool === "fill") return flood(cursor);
  penDown = down;
  if (down) begin(cursor);
  else end();
  moveCursor();
}

new ResizeObserver(fit).observe(root);
watch("value", load);
load();
