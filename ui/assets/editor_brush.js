// Painting: a hard round brush, a soft one that lightens or darkens, and filling an area.
// A stroke covers pixels once, however often it passes them: what is painted is the pixels before the
// stroke and how far each is covered.

const brush = { size: 8, amount: 40, tool: "", colour: [255, 255, 255] };
let stroke = null;
let lastEnd = null;
let cursor = null; // where the keys' brush is, in map pixels
let penDown = false;

function resetBrush() {
  stroke = lastEnd = cursor = null;
  penDown = false;
  brush.size = Math.max(2, Math.round(Math.min(pixels.width, pixels.height) / (given.kind === "depth" ? 6 : 32)));
}

const paints = () => ["edge", "depth", "segment"].includes(given.kind);

function begin(point) {
  stroke = {
    before: pixels.data.slice(),
    cover: new Float32Array(pixels.width * pixels.height),
    start: point,
    last: point,
    box: null,
  };
  along(point, point);
}

// Cover what lies within the brush's radius of a line, and paint it.
function along([x0, y0], [x1, y1]) {
  const radius = brush.size / 2;
  const box = [
    limit(Math.floor(Math.min(x0, x1) - radius), 0, pixels.width),
    limit(Math.floor(Math.min(y0, y1) - radius), 0, pixels.height),
    limit(Math.ceil(Math.max(x0, x1) + radius), 0, pixels.width),
    limit(Math.ceil(Math.max(y0, y1) + radius), 0, pixels.height),
  ];
  const [dx, dy] = [x1 - x0, y1 - y0];
  const length = dx * dx + dy * dy || 1;
  for (let y = box[1]; y < box[3]; y++) {
    for (let x = box[0]; x < box[2]; x++) {
      const [px, py] = [x + 0.5 - x0, y + 0.5 - y0];
      const share = limit((px * dx + py * dy) / length, 0, 1);
      const apart = Math.hypot(px - share * dx, py - share * dy);
      // So thin a brush may pass between the middles of pixels.
      if (apart > Math.max(radius, 0.71)) continue;
      const i = y * pixels.width + x;
      const cover = given.kind === "depth" ? soft(apart / radius) : 1;
      if (cover > stroke.cover[i]) paintPixel(i, (stroke.cover[i] = cover));
    }
  }
  if (box[2] <= box[0] || box[3] <= box[1]) return;
  grow(box);
  pen.putImageData(pixels, 0, 0, box[0], box[1], box[2] - box[0], box[3] - box[1]);
}

const soft = (share) => (share >= 1 ? 0 : (1 - share * share) ** 2);

function paintPixel(i, cover) {
  const sign = brush.tool === "darken" ? -1 : 1;
  for (let c = 0; c < 3; c++) {
    pixels.data[4 * i + c] =
      given.kind === "depth" ? stroke.before[4 * i + c] + sign * cover * brush.amount : ink()[c];
  }
  pixels.data[4 * i + 3] = 255;
}

function ink() {
  if (given.kind === "segment") return brush.colour;
  return brush.tool === "erase" ? [0, 0, 0] : [255, 255, 255];
}

function grow(box) {
  const old = stroke.box || box;
  stroke.box = [Math.min(old[0], box[0]), Math.min(old[1], box[1]), Math.max(old[2], box[2]), Math.max(old[3], box[3])];
}

function take(back) {
  const { before, box } = stroke;
  pixels.data.set(before);
  stroke.cover.fill(0);
  if (box) pen.putImageData(pixels, 0, 0, box[0], box[1], box[2] - box[0], box[3] - box[1]);
  if (back) stroke = null;
}

// A straight line from where the stroke began, as long as Shift is held.
function straight(from, to) {
  take(false);
  along(from, to);
}

function end() {
  if (!stroke) return;
  const { before, box, last } = stroke;
  stroke = null;
  lastEnd = last;
  if (box) rememberPixels({ erase: "erased", fill: "filled" }[brush.tool] || "stroke", before, box);
}

// Fill the area of one colour around a point: its neighbours to all four sides, and so on.
function flood(point) {
  const { width, height, data } = pixels;
  const words = new Uint32Array(data.buffer);
  const start = Math.floor(point[1]) * width + Math.floor(point[0]);
  const old = words[start];
  const new_ = new Uint32Array(new Uint8ClampedArray([...ink(), 255]).buffer)[0];
  if (old === undefined || old === new_) return;
  const before = data.slice();
  const open = [start];
  words[start] = new_;
  while (open.length) {
    const i = open.pop();
    const x = i % width;
    for (const [next, inside] of [[i - 1, x > 0], [i + 1, x < width - 1], [i - width, i >= width], [i + width, i < width * (height - 1)]]) {
      if (inside && words[next] === old) {
        words[next] = new_;
        open.push(next);
      }
    }
  }
  pen.putImageData(pixels, 0, 0);
  rememberPixels("filled", before, everywhere());
}

function pick(point) {
  const i = 4 * (Math.floor(point[1]) * pixels.width + Math.floor(point[0]));
  setColour([...pixels.data.subarray(i, i + 3)]);
}

// ---- pointer: mouse, finger or pen

canvas.addEventListener("pointerdown", (event) => {
  if (event.button || !paints() || stroke) return;
  event.preventDefault(); // nor does the press take the focus elsewhere
  canvas.focus({ preventScroll: true });
  const point = at(event);
  if (given.kind === "segment" && event.altKey) return pick(point);
  if (brush.tool === "fill") return flood(point);
  canvas.setPointerCapture(event.pointerId);
  begin(point);
});
canvas.addEventListener("pointermove", (event) => {
  cursor = at(event);
  moveCursor();
  if (!stroke || !canvas.hasPointerCapture(event.pointerId)) return;
  if (event.shiftKey) straight(stroke.start, cursor);
  else for (const one of event.getCoalescedEvents?.() || []) follow(at(one));
  if (!event.shiftKey) follow(cursor);
  stroke.last = cursor;
});
function follow(point) {
  along(stroke.last, point);
  stroke.last = point;
}
canvas.addEventListener("pointerup", (event) => {
  if (!stroke || !canvas.hasPointerCapture(event.pointerId)) return;
  const still = Math.hypot(stroke.last[0] - stroke.start[0], stroke.last[1] - stroke.start[1]) < 2;
  if (event.shiftKey && still && lastEnd) straight(lastEnd, stroke.start);
  end();
});
canvas.addEventListener("pointercancel", () => stroke && take(true));
canvas.addEventListener("pointerleave", () => {
  if (!stroke && document.activeElement !== canvas) cursor = null;
  moveCursor();
});

// ---- the brush's outline

const outline = make("div", "cs-brush");
stage.append(outline);

function moveCursor() {
  outline.hidden = !cursor || !pixels || !paints() || brush.tool === "fill";
  if (outline.hidden) return;
  const width = Math.max(3, brush.size * scale);
  Object.assign(outline.style, {
    width: `${width}px`,
    height: `${width}px`,
    left: `${cursor[0] * scale - width / 2}px`,
    top: `${cursor[1] * scale - width / 2}px`,
  });
  outline.classList.toggle("cs-brush-down", penDown);
}
