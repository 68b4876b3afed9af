// The grid by keyboard: arrows move, Enter compares, W picks the winner, + - 0 zoom.

let current = null; // the picture that Tab reaches

// The finished picture next to `index` in a key's direction; undefined where there is none.
function neighbour(index, key) {
  const by = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] }[key];
  if (!by || !cells[index]) return undefined;
  const there = (i) => cells[i]?.data.status === "done" && !cells[i].box.hidden;
  if (!table) {
    const step = by[0] * inARow() + by[1];
    for (let i = index + step; cells[i]; i += step) if (there(i)) return i;
    return undefined;
  }
  const [rows, columns] = [table.rows.length, table.columns.length];
  let [row, column] = [rowOf(index) + by[0], columnOf(index) + by[1]];
  for (; row >= 0 && row < rows && column >= 0 && column < columns; row += by[0], column += by[1]) {
    if (there(row * columns + column)) return row * columns + column;
  }
  return undefined;
}

function inARow() {
  const top = cells[0].box.offsetTop;
  const next = cells.findIndex((cell) => cell.box.offsetTop !== top);
  return next < 0 ? cells.length : next;
}

function focusCell(index) {
  if (cells[current]) cells[current].open.tabIndex = -1;
  current = index;
  cells[index].open.tabIndex = 0;
  cells[index].open.focus();
}

grid.addEventListener("keydown", (event) => {
  const open = event.target.closest(".cs-open");
  if (!open || event.ctrlKey || event.metaKey || event.altKey) return;
  const index = Number(open.dataset.index);
  const next = neighbour(index, event.key);
  const act = {
    Enter: () => count > 1 && choose(index),
    w: () => count > 1 && pickWinner(index),
    "+": () => zoomBy(1.5),
    "-": () => zoomBy(1 / 1.5),
    0: () => setZoom(1, 0, 0),
  }[event.key.length === 1 ? event.key.toLowerCase() : event.key];
  if (next !== undefined) focusCell(next);
  else if (!act || act() === false) return;
  event.preventDefault();
});
root.addEventListener("keydown", (event) => {
  if (event.key === "Escape" && comparing && !event.target.closest("dialog")) setComparing(false);
});
