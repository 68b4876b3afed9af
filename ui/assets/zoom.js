// Zoom and pan in step inside all pictures: one transform, set once on the grid.

const zoom = { scale: 1, x: 0, y: 0 }; // x, y: offset in percent of a picture, 0 to 100·(1 − scale)
const MOST_ZOOM = 16;

function setZoom(scale, x, y) {
  zoom.scale = Math.min(MOST_ZOOM, Math.max(1, scale));
  if (zoom.scale < 1.01) zoom.scale = 1;
  const least = 100 * (1 - zoom.scale);
  zoom.x = Math.min(0, Math.max(least, x));
  zoom.y = Math.min(0, Math.max(least, y));
  grid.classList.toggle("cs-zoomed", zoom.scale > 1);
  grid.style.setProperty("--cs-zoom", zoom.scale);
  grid.style.setProperty("--cs-x", `${zoom.x}%`);
  grid.style.setProperty("--cs-y", `${zoom.y}%`);
  fill(zoomReset, `${Math.round(100 * zoom.scale)} %`);
}

// Zoom by a factor; the point at (across, down), shares of a picture, stays where it is.
function zoomBy(factor, across = 0.5, down = 0.5) {
  const scale = Math.min(MOST_ZOOM, Math.max(1, zoom.scale * factor));
  const ratio = scale / zoom.scale;
  const [px, py] = [100 * across, 100 * down];
  setZoom(scale, px - (px - zoom.x) * ratio, py - (py - zoom.y) * ratio);
}

const zoomReset = button("100 %", () => setZoom(1, 0, 0));
zoomReset.title = "Back to whole pictures";
const zoomTools = make("span", "cs-zoom-tools");
const zoomOut = button("−", () => zoomBy(1 / 1.5));
const zoomIn = button("+", () => zoomBy(1.5));
zoomOut.setAttribute("aria-label", "Zoom out of all pictures");
zoomIn.setAttribute("aria-label", "Zoom into all pictures");
zoomTools.append(zoomOut, zoomReset, zoomIn);

// A plain wheel scrolls, as everywhere, until pictures are zoomed.
grid.addEventListener(
  "wheel",
  (event) => {
    const open = event.target.closest(".cs-open");
    if (!open || count < 2 || !(event.ctrlKey || event.metaKey || zoom.scale > 1)) return;
    event.preventDefault();
    const box = open.getBoundingClientRect();
    const across = (event.clientX - box.left) / box.width;
    const down = (event.clientY - box.top) / box.height;
    zoomBy(Math.exp(-Math.max(-60, Math.min(60, event.deltaY)) / 240), across, down);
  },
  { passive: false }
);

let drag = null;
grid.addEventListener("pointerdown", (event) => {
  const open = event.target.closest(".cs-open");
  if (!open || zoom.scale === 1 || event.button) return;
  const box = open.getBoundingClientRect();
  drag = { box, from: [event.clientX, event.clientY], start: [zoom.x, zoom.y], moved: false };
});
grid.addEventListener("pointermove", (event) => {
  if (!drag) return;
  if (!event.buttons) {
    drag = null;
    return;
  }
  const [dx, dy] = [event.clientX - drag.from[0], event.clientY - drag.from[1]];
  drag.moved ||= Math.hypot(dx, dy) > 4;
  if (drag.moved) setZoom(zoom.scale, drag.start[0] + (100 * dx) / drag.box.width, drag.start[1] + (100 * dy) / drag.box.height);
});
grid.addEventListener(
  "click",
  (event) => {
    if (drag?.moved) event.stopPropagation(); // the end of a drag is no click
    drag = null;
  },
  true
);
grid.addEventListener("dblclick", () => {
  clearTimeout(clicked);
  setZoom(1, 0, 0);
});
