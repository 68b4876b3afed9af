// A table's headers with what hides them, and the tools above the pictures.

const hidden = { rows: new Set(), columns: new Set() };
let headers = { rows: [], columns: [] };

const shownOf = (kind) => (table ? table[kind] : []).map((_, i) => i).filter((i) => !hidden[kind].has(i));
const shownRows = () => shownOf("rows");
const shownColumns = () => shownOf("columns");
const rowOf = (index) => Math.floor(index / table.columns.length);
const columnOf = (index) => index % table.columns.length;

function drawTable(texts) {
  table = texts;
  hidden.rows.clear();
  hidden.columns.clear();
  headers = { rows: [], columns: [] };
  grid.classList.toggle("cs-table", Boolean(table));
  grid.setAttribute("role", table ? "group" : "presentation");
  if (!table) return;
  const corner = make("div", "cs-head cs-corner");
  corner.append(make("span", "", table.row_title), make("span", "cs-note", `${table.column_title} →`));
  grid.append(corner);
  headers.columns = table.columns.map((text, i) => header("columns", text, i));
  headers.rows = table.rows.map((text, i) => header("rows", text, i));
  grid.append(...headers.columns, ...headers.rows);
  layOut();
}

function header(kind, text, i) {
  const node = make("div", `cs-head cs-${kind === "rows" ? "row" : "column"}`);
  node.append(make("span", "cs-head-text", text));
  node.title = text;
  const eye = button("", () => {
    hidden[kind].add(i);
    layOut();
    fill(showAll, `Show ${hidden.rows.size + hidden.columns.size} hidden`);
    showAll.focus();
  });
  eye.className = "cs-hide";
  eye.setAttribute("aria-label", `Hide ${text}`);
  eye.title = `Hide this ${kind === "rows" ? "row" : "column"}`;
  node.append(eye);
  return node;
}

const showAll = button("", () => {
  hidden.rows.clear();
  hidden.columns.clear();
  layOut();
});

// Rows and columns that are hidden leave no gap.
function layOut() {
  for (const [kind, track] of [["rows", "gridRow"], ["columns", "gridColumn"]]) {
    const at = new Map(shownOf(kind).map((i, place) => [i, place + 2]));
    headers[kind].forEach((node, i) => {
      node.hidden = !at.has(i);
      node.style[track] = at.get(i) ?? "";
      node.style[kind === "rows" ? "gridColumn" : "gridRow"] = 1;
      // The last one stays: a table of nothing cannot be brought back by its headers.
      node.lastChild.hidden = at.size < 2;
    });
  }
  showAll.hidden = !hidden.rows.size && !hidden.columns.size;
  grid.style.gridTemplateColumns = `max-content repeat(${shownColumns().length}, max-content)`;
  cells.forEach((_, index) => place(index));
  resize();
}

function place(index) {
  const { box } = cells[index];
  box.hidden = hidden.rows.has(rowOf(index)) || hidden.columns.has(columnOf(index));
  if (box.hidden) return;
  box.style.gridRow = headers.rows[rowOf(index)].style.gridRow;
  box.style.gridColumn = headers.columns[columnOf(index)].style.gridColumn;
}

// ---- tools

const about = make("p", "cs-about cs-note"); // the picture below the pointer, or the keys
tools.after(about);

function drawTools(run, view) {
  tools.hidden = count < 2;
  about.hidden = tools.hidden;
  if (tools.hidden) return;
  if (tools.dataset.run !== run) {
    tools.dataset.run = run;
    tools.replaceChildren();
    if (table) tools.append(sizer());
    tools.append(zoomTools, compareButton, comparison.hint, showAll, make("span", "cs-downloads"));
    showAll.hidden = true;
    tellAbout(null);
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

function tellAbout(cell) {
  for (const node of grid.querySelectorAll(".cs-head-now")) node.classList.remove("cs-head-now");
  if (!cell) {
    const won = winner === null || !cells[winner] ? "" : `★ ${cells[winner].data.label} · `;
    fill(about, `${won}Ctrl + wheel zooms all pictures, drag moves them, double-click resets · arrows, Enter to compare, W for the winner`);
    return;
  }
  const { data } = cell;
  fill(about, [winner === data.index ? "★" : "", data.label, data.note].filter(Boolean).join(" · "));
  if (!table) return;
  headers.rows[rowOf(data.index)].classList.add("cs-head-now");
  headers.columns[columnOf(data.index)].classList.add("cs-head-now");
}

const cellAt = (node) => {
  const open = node.closest?.(".cs-open");
  return open ? cells[Number(open.dataset.index)] : null;
};
for (const kind of ["mouseover", "focusin"]) {
  grid.addEventListener(kind, (event) => tellAbout(cellAt(event.target)));
}
grid.addEventListener("mouseleave", () => tellAbout(null));

function sizer() {
  const label = make("label", "cs-sizer", "Size");
  const input = make("input");
  Object.assign(input, { type: "range", min: 48, max: 512, step: 16, value: side || SMALL });
  input.setAttribute("aria-label", "Size of the pictures");
  input.addEventListener("input", () => {
    side = Number(input.value);
    resize();
  });
  label.append(input);
  return label;
}
