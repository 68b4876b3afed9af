// Draws one run and follows it. `props.value` is the run's id; `server.poll` answers what has
// changed since the keys it is given. All text goes in as textContent, never as markup.

const POLL_MS = 150;
const RETRY_MS = 1500;
const LARGE = 384; // how large small pictures are shown, about ...
const SMALL = 256; // ... and how large where that puts two side by side
const GAP = 14;

const root = element.querySelector(".cs-run");
let turn = 0; // grows when another run is to be shown, so that older loops end
let cells = [];
let count = 0;
let table = null; // headers, where the run is drawn as a table
let side = 0; // the side of cells in a table, in screen pixels; 0 = what fits

// ---- the frame: one line of state, a bar, the grid

const line = make("p", "cs-line");
const spoken = make("p", "cs-spoken"); // for screen readers: the state, not every step
spoken.setAttribute("role", "status");
const bar = make("div", "cs-bar");
bar.setAttribute("role", "progressbar");
bar.setAttribute("aria-label", "Progress of this run");
bar.setAttribute("aria-valuemin", "0");
bar.setAttribute("aria-valuemax", "100");
const barFill = make("div", "cs-bar-fill");
bar.append(barFill);
const problem = make("p", "cs-problem");
problem.setAttribute("role", "alert");
const tools = make("div", "cs-tools");
const scroller = make("div", "cs-scroller");
const grid = make("div", "cs-grid");
const empty = make("p", "cs-empty");
scroller.append(grid);
root.append(line, spoken, bar, problem, tools, scroller, empty);

function frame(view) {
  const text = view ? view.line : "";
  fill(line, text);
  line.hidden = !text;
  bar.hidden = !(view && view.active);
  const known = view && view.fraction !== null && view.status === "running";
  bar.classList.toggle("cs-waiting", !known);
  barFill.style.width = known ? `${(100 * view.fraction).toFixed(1)}%` : "";
  if (known) bar.setAttribute("aria-valuenow", Math.round(100 * view.fraction));
  else bar.removeAttribute("aria-valuenow");
  fill(problem, (view && view.error) || "");
  problem.hidden = !problem.textContent;
  empty.hidden = Boolean(view);
  fill(empty, props.empty || "");
  fill(spoken, !view ? "" : view.status === "running" ? "Running" : view.line);
  root.dataset.status = view ? view.status : "empty";
}

// ---- one cell

function newCell(index) {
  const box = make("figure", "cs-cell");
  const open = make("button", "cs-open");
  open.type = "button";
  const image = make("img");
  const blank = make("span", "cs-blank");
  open.append(image, blank);
  const caption = make("figcaption");
  box.append(open, caption);
  if (table) {
    const columns = table.columns.length;
    box.style.gridRow = 2 + Math.floor(index / columns);
    box.style.gridColumn = 2 + (index % columns);
  }
  grid.append(box);
  const cell = { key: "", box, open, image, blank, caption, data: null };
  image.hidden = true;
  image.draggable = false;
  open.addEventListener("click", () => (comparing ? choose(index) : lightbox.show(index)));
  cells[index] = cell;
  return cell;
}

function drawCell(data) {
  const cell = cells[data.index] || newCell(data.index);
  cell.key = data.key;
  cell.data = data;
  cell.box.dataset.status = data.status;
  const done = data.status === "done";
  cell.open.disabled = !done;
  if (data.src) {
    cell.image.src = data.src;
    cell.image.alt = `${done ? "" : "Preview: "}${data.prompt || "no prompt"}, seed ${data.seed}`;
  }
  const drawn = Boolean(data.src || data.preview); // a preview it has already is not sent again
  cell.image.hidden = !drawn;
  cell.blank.hidden = drawn;
  fill(cell.blank, data.status === "failed" ? "failed" : "");
  cell.open.setAttribute("aria-label", done ? `Show ${named(cell)} in full` : `Picture ${data.index + 1}`);
  cell.open.title = table && done ? `${data.label}\n${data.note}` : "";
  size(cell);
  caption(cell);
}

function named(cell) {
  const { data } = cell;
  return table && data.label ? `${data.label}: ${cell.image.alt}` : cell.image.alt;
}

function targetSide(room) {
  if (table) {
    const share = (room - 150) / table.columns.length - 8;
    return side || Math.max(96, Math.min(SMALL, share));
  }
  const fits = (side) => 2 * side + GAP + 4 <= room;
  if (count === 1) return Math.min(room, LARGE);
  if (count <= 4 && fits(LARGE)) return LARGE;
  return fits(SMALL) ? SMALL : Math.min(room, LARGE);
}

// A whole number of screen pixels a picture pixel, so that small pictures stay sharp.
function size(cell) {
  const { width, height } = cell.data;
  if (!width || !height) return;
  const room = Math.max(128, scroller.clientWidth - 2);
  const target = targetSide(room);
  const longer = Math.max(width, height);
  const chosen = table && side;
  // A side that was chosen is kept to; else pictures are shown at a whole zoom.
  const zoom = chosen ? target / longer : Math.floor(target / longer);
  const shrunk = Math.min(1, (count > 1 ? target : Math.min(room, 640)) / longer);
  const scale = zoom >= 1 ? zoom : shrunk;
  cell.image.classList.toggle("cs-sharp", zoom >= 1);
  cell.open.style.width = `${Math.round(width * scale)}px`;
  cell.open.style.aspectRatio = `${width} / ${height}`;
  cell.box.style.width = count > 1 ? cell.open.style.width : "";
}

function caption(cell) {
  const { data } = cell;
  cell.caption.replaceChildren();
  if (data.status === "failed") {
    cell.caption.append(make("p", "cs-problem", data.error));
    return;
  }
  const place = make("p", "cs-place");
  if (table && data.status === "done") return; // the headers say what it is
  const alone = !data.label || /^seed \d+$/.test(data.label);
  if (!table) place.append(make("span", "cs-label", alone ? `Seed ${data.seed}` : data.label));
  if (data.status === "done") place.append(make("span", "cs-note", data.note));
  else if (data.steps) place.append(make("span", "cs-note", `${data.step} / ${data.steps}`));
  cell.caption.append(place);
  if (data.status !== "done") return;
  const actions = make("div", "cs-actions");
  actions.append(download(data), use(data), copy(data));
  const details = make("details");
  details.open = count === 1;
  details.append(make("summary", "", "Settings"), make("pre", "", data.settings));
  cell.caption.append(actions, details);
}

function download(data) {
  const link = make("a", "cs-button", "Download");
  link.title = "The PNG, with these settings inside";
  link.href = data.src;
  link.download = data.file;
  return link;
}

function use(data) {
  const node = button("Use settings", () => {
    lightbox.close();
    trigger("use_settings", { request: data.request });
  });
  node.title = "Put these settings into the form";
  return node;
}

function copy(data) {
  const node = button("Copy", async () => {
    let done = true;
    try {
      await navigator.clipboard.writeText(data.settings);
    } catch {
      done = copyBySelection(data.settings, node.parentElement); // plain http, not localhost
    }
    node.textContent = done ? "Copied" : "Not allowed";
    setTimeout(() => (node.textContent = "Copy"), 1500);
  });
  node.title = "Copy these settings as text";
  return node;
}

function copyBySelection(text, near) {
  const area = make("textarea");
  area.value = text;
  near.append(area);
  area.select();
  const done = document.execCommand("copy");
  area.remove();
  return done;
}

// ---- one picture, as large as the window allows

const lightbox = (() => {
  const dialog = make("dialog", "cs-lightbox");
  dialog.setAttribute("aria-label", "Picture in full size");
  const image = make("img");
  const side = make("div", "cs-side");
  dialog.append(image, side);
  root.append(dialog);
  let at = 0;

  const finished = () => cells.filter((cell) => cell.data.status === "done");
  function fit() {
    const { width, height } = cells[at].data;
    const beside = innerWidth >= 720 ? 320 : 20; // the text stands beside or below
    const room = Math.min((innerWidth * 0.94 - beside) / width, (innerHeight * 0.9) / height);
    const scale = room >= 1 ? Math.floor(room) : room;
    image.style.width = `${Math.round(width * scale)}px`;
    image.classList.toggle("cs-sharp", scale >= 1);
  }
  function show(index) {
    at = index;
    const { data } = cells[at];
    image.src = data.src;
    image.alt = cells[at].image.alt;
    side.replaceChildren();
    const close = button("Close", () => dialog.close());
    close.classList.add("cs-close");
    const actions = make("div", "cs-actions");
    actions.append(download(data), use(data), copy(data));
    const hint = finished().length > 1 ? "Arrow keys show the other pictures." : "";
    side.append(
      close,
      make("h3", "", data.prompt || "No prompt"),
      make("p", "cs-label", count > 1 ? data.label : ""),
      make("p", "cs-note", `${data.width} × ${data.height} · seed ${data.seed}`),
      make("pre", "", data.settings),
      actions,
      make("p", "cs-note", hint)
    );
    fit();
    if (!dialog.open) dialog.showModal();
  }
  function move(by) {
    const list = finished();
    const next = list[(list.indexOf(cells[at]) + by + list.length) % list.length];
    show(next.data.index);
  }
  function moveRow(by) {
    const next = cells[at + by * table.columns.length];
    if (next && next.data.status === "done") show(next.data.index);
  }
  dialog.addEventListener("click", (event) => event.target === dialog && dialog.close());
  dialog.addEventListener("keydown", (event) => {
    if (event.key === "ArrowRight") move(1);
    else if (event.key === "ArrowLeft") move(-1);
    else if (table && event.key === "ArrowDown") moveRow(1);
    else if (table && event.key === "ArrowUp") moveRow(-1);
    else return;
    event.preventDefault();
  });
  return { show, close: () => dialog.close(), fit: () => dialog.open && fit() };
})();

// ---- a table's headers, and the tools above the pictures

function drawTable(headers) {
  table = headers;
  grid.classList.toggle("cs-table", Boolean(table));
  grid.setAttribute("role", table ? "group" : "presentation");
  if (!table) return;
  grid.style.gridTemplateColumns = `max-content repeat(${table.columns.length}, max-content)`;
  const corner = make("div", "cs-head cs-corner");
  corner.append(make("span", "", table.row_title), make("span", "cs-note", `${table.column_title} →`));
  grid.append(corner);
  table.columns.forEach((text, i) => grid.append(header("cs-column", text, 1, i + 2)));
  table.rows.forEach((text, i) => grid.append(header("cs-row", text, i + 2, 1)));
}

function header(kind, text, row, column) {
  const node = make("div", `cs-head ${kind}`, text);
  node.style.gridRow = row;
  node.style.gridColumn = column;
  node.title = text;
  return node;
}

function drawTools(run, view) {
  tools.hidden = count < 2;
  if (tools.hidden) return;
  if (tools.dataset.run !== run) {
    tools.dataset.run = run;
    tools.replaceChildren();
    if (table) tools.append(sizer());
    tools.append(compareButton, comparison.hint, make("span", "cs-downloads"));
  }
  const downloads = tools.querySelector(".cs-downloads");
  const some = cells.some((cell) => cell.data.status === "done");
  if (view.active || !some) downloads.replaceChildren();
  else if (!downloads.childElementCount) {
    const what = { png: "The labelled sheet as one picture", zip: "Sheet, cells and settings", json: "All settings" };
    for (const [kind, title] of Object.entries(what)) {
      const link = make("a", "cs-button", kind.toUpperCase());
      link.href = `sheets/${run}.${kind}`;
      link.download = `sheet-${run}.${kind}`;
      link.title = title;
      downloads.append(link);
    }
  }
}

function sizer() {
  const label = make("label", "cs-sizer", "Size");
  const input = make("input");
  Object.assign(input, { type: "range", min: 48, max: 512, step: 16, value: side || SMALL });
  input.setAttribute("aria-label", "Size of the pictures");
  input.addEventListener("input", () => {
    side = Number(input.value);
    cells.forEach(size);
  });
  label.append(input);
  return label;
}

// ---- comparing two

let comparing = false;
let first = null;
const comparison = makeComparison(root);
const compareButton = button("Compare two", () => setComparing(!comparing));
compareButton.setAttribute("aria-pressed", "false");

function setComparing(on) {
  comparing = on;
  first = null;
  compareButton.setAttribute("aria-pressed", String(on));
  grid.classList.toggle("cs-choosing", on);
  cells.forEach((cell) => cell.box.classList.remove("cs-chosen"));
  fill(comparison.hint, on ? "Click the first picture." : "");
}

function choose(index) {
  if (first === null) {
    first = index;
    cells[index].box.classList.add("cs-chosen");
    fill(comparison.hint, "Click the second picture.");
    return;
  }
  const pair = [cells[first], cells[index]];
  setComparing(false);
  if (pair[0] !== pair[1]) comparison.show(...pair.map((cell) => ({ ...cell.data, name: cell.data.label || cell.image.alt })));
}

// ---- following a run

function clear() {
  lightbox.close();
  grid.replaceChildren();
  grid.style.gridTemplateColumns = "";
  cells = [];
  count = 0;
  setComparing(false);
  drawTable(null);
  tools.hidden = true;
  tools.dataset.run = "";
}

async function ask(question) {
  try {
    return await server.poll(question);
  } catch {
    return undefined; // no connection; Gradio answers undefined as well
  }
}

async function follow(run, mine) {
  let status = null;
  while (mine === turn && element.isConnected) {
    const view = await ask({ run, seen: cells.map((cell) => cell.key) });
    if (!view) {
      if (mine !== turn) return;
      fill(line, "No connection to the server; trying again");
      line.hidden = false;
      await sleep(RETRY_MS);
      continue;
    }
    if (mine !== turn) return;
    if (view.found) {
      count = view.count;
      grid.dataset.count = count;
      if (view.table && !table) drawTable(view.table);
      view.cells.forEach(drawCell);
      drawTools(run, view);
    }
    frame(view.found ? view : null);
    if (view.status !== status) {
      status = view.status;
      trigger("run_state", { run });
    }
    if (!view.active) return;
    await sleep(POLL_MS);
  }
}

function show(run) {
  turn += 1;
  clear();
  frame(null);
  if (!run) return;
  empty.hidden = true;
  follow(run, turn);
}

new ResizeObserver(() => {
  cells.forEach(size);
  lightbox.fit();
}).observe(scroller);
watch("value", () => show(props.value));
show(props.value);
