// Undo and redo. A change knows what was before and after it and how to put either back.

const HISTORY_BYTES = 96 * 2 ** 20;
let past = [];
let future = [];

const weight = (change) => change.before.data?.length * 2 || 2000;

// Remember a change that has been made already, and tell the server.
function remember(change, wait = 0) {
  past.push(change);
  future = [];
  let held = past.reduce((sum, one) => sum + weight(one), 0);
  while (held > HISTORY_BYTES && past.length > 1) held -= weight(past.shift());
  changed(wait);
}

function step(from, to, side, word) {
  const change = from.pop();
  if (!change) return;
  change.put(change[side]);
  to.push(change);
  fill(spoken, `${word}: ${change.what}`);
  changed();
}
const undo = () => step(past, future, "before", "Undone");
const redo = () => step(future, past, "after", "Done again");

function changed(wait = 0) {
  drawHistory();
  // What had the focus may be gone (a hidden joint); undo by keys must go on working.
  if (document.activeElement === document.body) canvas.focus({ preventScroll: true });
  tell(wait);
}

function forget() {
  past = [];
  future = [];
  untold = false;
}

// ---- pixels as changes

function putPatch(patch) {
  for (let row = 0; row < patch.height; row++) {
    const from = 4 * row * patch.width;
    const to = 4 * ((patch.y + row) * pixels.width + patch.x);
    pixels.data.set(patch.data.subarray(from, from + 4 * patch.width), to);
  }
  pen.putImageData(pixels, 0, 0, patch.x, patch.y, patch.width, patch.height);
}

function patchOf(data, [left, top, right, bottom]) {
  const patch = { x: left, y: top, width: right - left, height: bottom - top };
  patch.data = new Uint8ClampedArray(4 * patch.width * patch.height);
  for (let row = 0; row < patch.height; row++) {
    const from = 4 * ((top + row) * pixels.width + left);
    patch.data.set(data.subarray(from, from + 4 * patch.width), 4 * row * patch.width);
  }
  return patch;
}

const everywhere = () => [0, 0, pixels.width, pixels.height];

// Remember what happened to the pixels inside a box since they were `before`.
function rememberPixels(what, before, box) {
  const change = { what, before: patchOf(before, box), after: patchOf(pixels.data, box), put: putPatch };
  if (change.before.data.every((value, i) => value === change.after.data[i])) return;
  remember(change);
}

function startOver() {
  if (given.kind === "pose") return restorePose();
  const before = pixels.data.slice();
  pixels.data.set(computed.data);
  pen.putImageData(pixels, 0, 0);
  rememberPixels("start over", before, everywhere());
}
