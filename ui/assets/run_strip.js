// Recent runs as a row of buttons. `props.value` is {current, runs}, newest first.

const strip = element.querySelector(".cs-strip");

function when(seconds) {
  const at = new Date(1000 * seconds);
  const today = at.toDateString() === new Date().toDateString();
  const time = at.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
  return today ? time : `${at.toLocaleDateString()} ${time}`;
}

const WORDS = { queued: "waiting", running: "running", stopped: "stopped", failed: "failed" };

function entry(run, current) {
  const node = make("button", "cs-recent");
  node.type = "button";
  node.dataset.run = run.id;
  if (run.id === current) node.setAttribute("aria-current", "true");
  const frame = make("span", "cs-thumb");
  if (run.src) {
    const image = make("img");
    image.src = run.src;
    image.alt = "";
    image.loading = "lazy";
    frame.append(image);
  }
  const many = run.cells > 1 ? ` × ${run.cells}` : "";
  const state = WORDS[run.status] ? `, ${WORDS[run.status]}` : "";
  node.append(
    frame,
    make("span", "cs-what", run.prompt || "No prompt"),
    make("span", "cs-note", `${when(run.created)}${many}${state}`)
  );
  node.title = run.prompt;
  node.addEventListener("click", () => trigger("pick", { run: run.id }));
  return node;
}

function draw() {
  const { current = "", runs = [] } = props.value || {};
  const focused = document.activeElement?.dataset?.run;
  strip.replaceChildren(...runs.map((run) => entry(run, current)));
  if (!runs.length) strip.append(make("p", "cs-note", "Runs appear here and stay after a restart."));
  if (focused) strip.querySelector(`[data-run="${CSS.escape(focused)}"]`)?.focus();
}

watch("value", draw);
draw();
