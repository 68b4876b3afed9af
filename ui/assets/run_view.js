// The viewer's frame. It goes with cells, lightbox, table, zoom, keys, choice and follow.js, which
// share its names. Draws one run and follows it. `props.value` is the run's id; `server.poll` answers what has
// changed since the keys it is given. All text goes in as textContent, never as markup.

const POLL_MS = 150;
const RETRY_MS = 1500;
const LARGE = 384; // how large small pictures are shown, about ...
const SMALL = 256; // ... and how large where that puts two side by side
const GAP = 14;
const FEW = 4; // pictures that are shown large, each with its buttons

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
const warned = make("ul", "cs-warnings"); // what of the prompts was not carried out
warned.setAttribute("aria-label", "Warnings");
const tools = make("div", "cs-tools");
const scroller = make("div", "cs-scroller");
const grid = make("div", "cs-grid");
const empty = make("p", "cs-empty");
scroller.append(grid);
root.append(line, spoken, bar, problem, warned, tools, scroller, empty);

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
  const warnings = (view && view.warnings) || [];
  if (warned.dataset.text !== warnings.join("\n")) {
    warned.dataset.text = warnings.join("\n");
    warned.replaceChildren(...warnings.map((text) => make("li", "", text)));
  }
  warned.hidden = !warnings.length;
  empty.hidden = Boolean(view);
  fill(empty, props.empty || "");
  fill(spoken, !view ? "" : view.status === "running" ? "Running" : view.line);
  root.dataset.status = view ? view.status : "empty";
}

