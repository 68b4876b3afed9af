// One input for each parameter of a preprocessor. `props.value` is {help, parameters}; the event
// `set_parameters` has all values, once a change has rested for a moment.

const root = element.querySelector(".cs-parameters");
let telling = 0;
let shownAs = "";

function input(parameter) {
  const { name, kind, low, high, choices, value } = parameter;
  const node = make(kind === "choice" ? "select" : "input", "cs-input");
  if (kind === "choice") {
    for (const choice of choices) node.append(new Option(choice, choice));
  } else {
    const step = kind === "int" ? 1 : high - low <= 2 ? 0.05 : 0.5;
    Object.assign(node, { type: "number", min: low, max: high, step });
  }
  node.value = value;
  node.dataset.name = name;
  node.dataset.kind = kind;
  return node;
}

function draw() {
  const { help = "", parameters = [] } = props.value || {};
  const same = JSON.stringify([help, parameters.map((one) => one.name)]);
  if (same === shownAs) {
    // What is being typed keeps its focus.
    for (const { name, value } of parameters) {
      const node = root.querySelector(`[data-name="${name}"]`);
      if (node !== document.activeElement) node.value = value;
    }
    return;
  }
  shownAs = same;
  root.replaceChildren(make("p", "cs-note", help));
  for (const parameter of parameters) {
    const box = make("label", "cs-parameter");
    box.title = parameter.help;
    box.append(make("span", "", parameter.label), input(parameter));
    root.append(box);
  }
}

root.addEventListener("input", (event) => {
  clearTimeout(telling);
  telling = setTimeout(tell, event.target.tagName === "SELECT" ? 0 : 350);
});
function tell() {
  const values = {};
  for (const node of root.querySelectorAll("[data-name]")) {
    if (node.value === "") return; // being typed
    values[node.dataset.name] = node.dataset.kind === "choice" ? node.value : Number(node.value);
  }
  trigger("set_parameters", { values });
}

watch("value", draw);
draw();
