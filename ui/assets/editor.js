// The map editor's frame. It goes with editor_history, editor_brush, editor_pose and editor_tools.js, which
// share its names. `props.value` is {id, kind, edited, map, computed, source, fit, skeletons,
// palette} and follows the edits; the event `edited` gives back {id, map, skeletons}, the map as PNG of exactly
// its own pixels.

const root = element.querySelector(".cs-editor");
const [HIGH, HIGHEST] = [0.5, 0.85]; // of a map on the screen, as shares of the window's height; when large

let turn = 0; // grows when another map is to be shown, so that older loads end
let given = {};
let pixels = null; // the map as it stands
let computed = null; // ... and as it was made, to start over from
let scale = 1; // screen pixels a map pixel
let large = false;

const tools = make("div", "cs-edit-tools");
tools.setAttribute("role", "toolbar");
tools.setAttribute("aria-label", "Tools for the map");
const pair = make("div", "cs-edit-pair");
const hint = make("p", "cs-note");
const remark = make("div", "cs-said");
const remarkText = make("p", "");
remarkText.setAttribute("role", "status");
const firstFigure = button("Start with a standing figure", () => addPerson());
remark.append(remarkText, firstFigure);
const spoken = make("p", "cs-spoken");
spoken.setAttribute("role", "status");
const empty = make("p", "cs-empty");
root.append(remark, tools, pair, hint, spoken, empty);

const source = make("img");
const beneath = make("img", "cs-beneath");
const canvas = make("canvas", "cs-edit-map");
const pen = canvas.getContext("2d", { willReadFrequently: true });
const stage = make("div", "cs-edit-stage");
stage.append(beneath, canvas);
canvas.tabIndex = 0;
for (const image of [source, beneath]) image.draggable = false;

function framed(caption, node) {
  const box = make("figure", "cs-edit-figure");
  box.append(make("figcaption", "cs-note", caption), node);
  pair.append(box);
  return box;
}
const sourceBox = framed("Picture", source);
const mapBox = framed("Map", stage);

async function decoded(url) {
  const image = new Image();
  image.src = url;
  await image.decode();
  const still = make("canvas");
  Object.assign(still, { width: image.naturalWidth, height: image.naturalHeight });
  const brush = still.getContext("2d", { willReadFrequently: true });
  brush.drawImage(image, 0, 0);
  return brush.getImageData(0, 0, still.width, still.height);
}

async function load() {
  const mine = ++turn;
  clearTimeout(telling);
  given = props.value || {};
  const there = Boolean(given.map);
  if (!there) {
    pixels = computed = null;
    show("empty");
    return;
  }
  let found;
  try {
    found = await Promise.all([decoded(given.map), decoded(given.computed || given.map)]);
  } catch {
    if (mine === turn) show("broken");
    return;
  }
  if (mine !== turn) return;
  [pixels, computed] = found;
  Object.assign(canvas, { width: pixels.width, height: pixels.height });
  pen.putImageData(pixels, 0, 0);
  for (const image of [source, beneath]) {
    image.src = given.source || "";
    image.alt = image === source ? "The picture that the map was made from" : "";
    image.style.objectFit = { crop: "cover", pad: "contain" }[given.fit] || "fill";
  }
  forget();
  resetBrush();
  resetPose();
  drawTools();
  show("ready");
  drawRemark();
}

function show(state) {
  root.dataset.state = state;
  root.dataset.kind = given.kind || "";
  const ready = state === "ready";
  tools.hidden = pair.hidden = hint.hidden = remark.hidden = !ready;
  empty.hidden = ready;
  fill(empty, state === "broken" ? "This map could not be read; make it again." : root.dataset.empty);
  if (ready) fit();
}

// What is odd about the map as it was made counts until something is drawn; a pose without people always.
function drawRemark() {
  const nobody = given.kind === "pose" && !persons.length;
  const text = given.remark || "Nobody is in this map yet.";
  fill(remarkText, text);
  firstFigure.hidden = !nobody;
  const odd = given.kind === "pose" ? nobody : given.remark && !given.edited;
  remark.hidden = !odd || root.dataset.state !== "ready";
}

// A whole number of screen pixels a map pixel where there is room, so that small maps stay sharp.
function fit() {
  if (!pixels) return;
  const alone = large || !given.source;
  const room = alone ? root.clientWidth - 2 : (root.clientWidth - 18) / 2; // borders and the gap
  const most = Math.min(Math.max(48, room) / pixels.width, Math.max(260, (large ? HIGHEST : HIGH) * innerHeight) / pixels.height);
  scale = most >= 1 ? Math.floor(most) : most;
  sourceBox.hidden = alone;
  const size = { width: `${Math.round(pixels.width * scale)}px`, aspectRatio: `${pixels.width} / ${pixels.height}` };
  for (const node of [source, stage]) Object.assign(node.style, size);
  canvas.classList.toggle("cs-sharp", scale >= 1);
  // Joints of a face lie close together: their handles must not cover each other.
  stage.style.setProperty("--cs-joint", `${limit(0.026 * scale * pixels.height, 9, 15)}px`);
  moveCursor();
}

// Where an event is, in map pixels; the middle of the first pixel is at 0.5.
function at(event) {
  const box = canvas.getBoundingClientRect();
  return [((event.clientX - box.left) / box.width) * canvas.width, ((event.clientY - box.top) / box.height) * canvas.height];
}

const limit = (value, low, high) => Math.min(high, Math.max(low, value));

// ---- telling the server, when a stroke ends or the keys rest

let telling = 0;
let untold = false;

function tell(wait = 0) {
  clearTimeout(telling);
  untold = true;
  telling = setTimeout(send, wait);
}

function send() {
  clearTimeout(telling);
  if (!untold || !pixels) return;
  untold = false;
  const edit = { map: canvas.toDataURL("image/png"), skeletons: given.kind === "pose" ? bodies() : null };
  // The value is what is seen: a run that begins before the server has the edit reads it from there, and so
  // does this script when the editor was away. `watch` does not see this, so that nothing loads again.
  const first = { computed: given.computed || given.map, computedSkeletons: given.computedSkeletons || given.skeletons };
  props.value = given = { ...given, ...first, ...edit, edited: true };
  trigger("edited", { id: given.id ?? null, ...edit });
  drawRemark();
}

root.addEventListener("focusout", send);

// ---- pictures that are pasted anywhere on the tab, or dropped on the desk

const desk = root.closest(".cs-desk") || root;
const pictureIn = (data) => [...(data?.files || [])].find((file) => file.type.startsWith("image/"));

async function bring(file) {
  fill(spoken, "Bringing the picture");
  try {
    trigger("brought", { path: (await upload(file)).path });
  } catch (error) {
    trigger("brought", { error: String(error?.message || error) });
  }
}

// The desk where the focus is; else one that has no picture yet; else the first.
function isNext() {
  const all = [...document.querySelectorAll(".cs-editor")].filter((node) => node.offsetParent);
  const focused = (node) => node.closest(".cs-desk")?.contains(document.activeElement);
  return root === (all.find(focused) || all.find((node) => node.dataset.state !== "ready") || all[0]);
}

document.addEventListener("paste", (event) => {
  const file = pictureIn(event.clipboardData);
  if (!file || !isNext()) return;
  event.preventDefault();
  bring(file);
});
desk.addEventListener("dragover", (event) => event.dataTransfer?.types.includes("Files") && event.preventDefault());
desk.addEventListener("drop", (event) => {
  const file = pictureIn(event.dataTransfer);
  if (!file || !root.offsetParent) return;
  event.preventDefault();
  bring(file);
});
