// One picture of a run: its frame, its caption, what can be done with it.

function newCell(index) {
  const box = make("figure", "cs-cell");
  const open = make("button", "cs-open");
  open.type = "button";
  open.dataset.index = index;
  const image = make("img");
  const blank = make("span", "cs-blank");
  open.append(image, blank);
  const caption = make("figcaption");
  box.append(open, caption);
  const cell = { key: "", box, open, image, blank, caption, star: null, data: null };
  image.hidden = true;
  image.draggable = false;
  if (count > 1) {
    // Reached by W too: a second tab stop a picture would double the way through a sheet.
    cell.star = button("☆", () => pickWinner(index));
    cell.star.className = "cs-star";
    cell.star.tabIndex = -1;
    box.append(cell.star);
  }
  open.addEventListener("click", (event) => activate(index, event));
  cells[index] = cell;
  if (table) place(index);
  grid.append(box);
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
  if (cell.star) {
    cell.star.hidden = !done;
    cell.star.title = "Pick as winner";
    cell.star.setAttribute("aria-label", `Winner: ${data.label}`);
    cell.star.setAttribute("aria-pressed", "false");
  }
  if (done && current === null) current = data.index;
  cell.open.tabIndex = data.index === current ? 0 : -1;
  size(cell);
  caption(cell);
}

function named(cell) {
  const { data } = cell;
  return table && data.label ? `${data.label}: ${cell.image.alt}` : cell.image.alt;
}

// What a click on a picture does. A double click ends the zoom, so in zoomed pictures a single
// one waits to see whether it is the first of two.
let clicked = 0;
function activate(index, event) {
  clearTimeout(clicked);
  if (comparing) choose(index);
  else if (zoom.scale > 1 && event.detail === 1) clicked = setTimeout(() => lightbox.show(index), 260);
  else if (zoom.scale === 1 || event.detail === 0) lightbox.show(index);
}

function targetSide(room) {
  if (table) {
    const share = Math.floor((room - headed) / Math.max(1, shownColumns().length)) - 8; // gap, borders
    return side || Math.max(72, Math.min(SMALL, share));
  }
  const fits = (side) => 2 * side + GAP + 4 <= room;
  if (count === 1) return Math.min(room, LARGE);
  if (count <= FEW && fits(LARGE)) return LARGE;
  return fits(SMALL) ? SMALL : Math.min(room, LARGE);
}

let width = 0; // of the place for pictures; measured once a look, since measuring costs a layout
let headed = 0; // what of it the headers of rows take
function measure() {
  width = Math.max(128, scroller.clientWidth - 2);
  headed = grid.querySelector(".cs-corner")?.offsetWidth ?? 0;
}

// A whole number of screen pixels a picture pixel, so that small pictures stay sharp.
function size(cell) {
  const picture = cell.data;
  if (!picture.width || !picture.height) return;
  const target = targetSide(width);
  const longer = Math.max(picture.width, picture.height);
  const chosen = table && side;
  // A side that was chosen is kept to; else pictures are shown at a whole zoom.
  const whole = chosen ? target / longer : Math.floor(target / longer);
  const shrunk = Math.min(1, (count > 1 ? target : Math.min(width, 640)) / longer);
  const scale = whole >= 1 ? whole : shrunk;
  cell.image.classList.toggle("cs-sharp", whole >= 1);
  cell.open.style.width = `${Math.round(picture.width * scale)}px`;
  cell.open.style.aspectRatio = `${picture.width} / ${picture.height}`;
  cell.box.style.width = count > 1 ? cell.open.style.width : "";
}

function resize() {
  measure();
  cells.forEach(size);
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
  const many = count > FEW; // then the pictures are what should be seen
  const details = make("details");
  details.open = count === 1;
  details.append(make("summary", "", many ? "More" : "Settings"));
  (many ? details : cell.caption).append(actions(data));
  details.append(make("pre", "", data.settings));
  cell.caption.append(details);
}

function actions(data) {
  const row = make("div", "cs-actions");
  row.append(download(data), use(data), copy(data));
  if (props.sends) row.append(send(data));
  if (props.steers) row.append(steer(data));
  return row;
}

function download(data) {
  const link = make("a", "cs-button", "Download");
  link.title = "The PNG, with these settings inside";
  link.href = data.src;
  link.download = data.file;
  return link;
}

// A button that hands a picture's settings to the page by an event.
function handing(text, title, event, data) {
  const node = button(text, () => {
    lightbox.close();
    trigger(event, { request: data.request });
  });
  node.title = title;
  return node;
}

function use(data) {
  return handing("Use settings", "Put these settings into the form", "use_settings", data);
}

function send(data) {
  return handing("To text to image", "Open the text-to-image tab with these settings", "send_to", data);
}

function steer(data) {
  const node = button("To ControlNet", () => {
    lightbox.close();
    trigger("steer", { run: root.dataset.run, cell: data.index });
  });
  node.title = "Let this picture's edges, pose or depth steer another";
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
