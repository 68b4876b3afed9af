// Pictures that were chosen: the winner, which is kept with the run, and two to compare.

let winner = null;

function drawWinner(index) {
  for (const at of [winner, index]) {
    const cell = cells[at];
    if (!cell || !cell.star) continue;
    const won = at === index;
    cell.box.toggleAttribute("data-winner", won);
    fill(cell.star, won ? "★" : "☆");
    cell.star.setAttribute("aria-pressed", String(won));
    cell.star.title = won ? "The winner; click to take it back" : "Pick as winner";
  }
  winner = index;
}

async function pickWinner(index) {
  const picked = winner === index ? null : index;
  if (!(await server.pick({ run: root.dataset.run, cell: picked }))) return;
  drawWinner(picked);
  lightbox.redraw();
  tellAbout(cells[index]);
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
  fill(comparison.hint, on ? "Choose the first picture." : "");
}

function choose(index) {
  if (!comparing) setComparing(true);
  if (first === null) {
    first = index;
    cells[index].box.classList.add("cs-chosen");
    fill(comparison.hint, "Choose the second picture.");
    return;
  }
  const pair = [cells[first], cells[index]];
  setComparing(false);
  if (pair[0] === pair[1]) return;
  comparison.show(...pair.map((cell) => ({ ...cell.data, name: cell.data.label || cell.image.alt })));
}
