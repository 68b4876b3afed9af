// People as joints that can be dragged; the limbs are drawn as OpenPose draws them. What counts is where
// the joints are: the server draws its own map from them. `given.pose` is {joints, colours, limbs, figure}.

const handles = make("div", "cs-joints");
stage.append(handles);
const people = make("div", "cs-people");
let persons = []; // [{joints: [[x, y] or null, …], last: [[x, y] or null, …]}], in shares of the map
let firstPersons = [];

const rgb = (colour, shade = 1) => `rgb(${colour.map((value) => Math.floor(value * shade)).join(" ")})`;
const copyOf = (list) => structuredClone(list);
const bodies = () => persons.map((person) => copyOf(person.joints));
const named = (person, joint) => `${given.pose.joints[joint]}${persons.length > 1 ? ` of person ${person + 1}` : ""}`;

function resetPose() {
  const body = (joints) => ({ joints: copyOf(joints), last: copyOf(joints) });
  persons = given.kind === "pose" ? (given.skeletons || []).map(body) : [];
  firstPersons = given.kind === "pose" ? (given.computedSkeletons || given.skeletons || []).map(body) : [];
  if (given.kind === "pose" && persons.length) drawPose();
  drawHandles();
}

function drawPose() {
  const { width, height } = canvas;
  const half = Math.max(2, Math.min(4, Math.round((4 * Math.min(width, height)) / 512)));
  pen.fillStyle = "black";
  pen.fillRect(0, 0, width, height);
  for (const { joints } of persons) {
    const points = joints.map((joint) => joint && [joint[0] * width, joint[1] * height]);
    given.pose.limbs.forEach(([start, stop], i) => {
      const [one, other] = [points[start], points[stop]];
      if (!one || !other) return;
      const [dx, dy] = [other[0] - one[0], other[1] - one[1]];
      pen.fillStyle = rgb(given.pose.colours[i], 0.6);
      pen.beginPath();
      pen.ellipse(one[0] + dx / 2, one[1] + dy / 2, Math.hypot(dx, dy) / 2, half, Math.atan2(dy, dx), 0, 2 * Math.PI);
      pen.fill();
    });
    points.forEach((point, i) => {
      if (!point) return;
      pen.fillStyle = rgb(given.pose.colours[i]);
      pen.beginPath();
      pen.arc(point[0], point[1], half, 0, 2 * Math.PI);
      pen.fill();
    });
  }
}

function putPersons(list) {
  persons = copyOf(list);
  drawPose();
  drawHandles();
}

// Change the joints by `act` and remember that.
function changePose(what, act, wait = 0) {
  const before = copyOf(persons);
  act();
  putPersons(persons);
  remember({ what, before, after: copyOf(persons), put: putPersons }, wait);
}

function restorePose() {
  changePose("start over", () => (persons = copyOf(firstPersons)));
}

// ---- handles

const handleOf = (person, joint) => handles.querySelector(`[data-person="${person}"][data-joint="${joint}"]`);

// A handle that stays keeps its node, and with it the focus.
function drawHandles() {
  handles.hidden = given.kind !== "pose";
  const kept = persons.flatMap(({ joints }, person) =>
    joints.flatMap((place, joint) => (place ? [handle(person, joint, place)] : []))
  );
  for (const node of [...handles.children]) if (!kept.includes(node)) node.remove();
  kept.forEach((node, i) => {
    if (!node.isConnected) i ? kept[i - 1].after(node) : handles.prepend(node);
  });
  drawPeople();
}

function handle(person, joint, place) {
  const node = handleOf(person, joint) || button("", () => {});
  node.className = "cs-joint";
  Object.assign(node.dataset, { person, joint });
  node.setAttribute("aria-label", `Joint: ${named(person, joint)}`);
  node.title = `${named(person, joint)}: drag, arrow keys, Delete`;
  node.style.background = rgb(given.pose.colours[joint]);
  putHandle(node, place);
  return node;
}

function putHandle(node, place) {
  node.style.left = `${100 * place[0]}%`;
  node.style.top = `${100 * place[1]}%`;
}

function hide(person, joint) {
  changePose(`hid ${named(person, joint)}`, () => {
    persons[person].last[joint] = persons[person].joints[joint];
    persons[person].joints[joint] = null;
  });
  people.querySelector(`[data-person="${person}"][data-joint="${joint}"]`)?.focus();
}

// Where a missing joint goes: where it was, else amid the joints it is connected to, else the middle.
function add(person, joint) {
  const { joints, last } = persons[person];
  const near = given.pose.limbs.filter((limb) => limb.includes(joint)).map((limb) => joints[limb[0] === joint ? limb[1] : limb[0]]);
  const known = near.filter(Boolean);
  const middle = (axis) => (known.length ? known.reduce((sum, one) => sum + one[axis], 0) / known.length : 0.5);
  const guess = [middle(0), limit(middle(1) + (known.length === 1 ? 0.08 : 0), 0, 1)];
  changePose(`added ${named(person, joint)}`, () => (joints[joint] = last[joint] || guess));
  handleOf(person, joint)?.focus();
}

let dragged = null;
handles.addEventListener("pointerdown", (event) => {
  const node = event.target.closest(".cs-joint");
  if (!node || event.button || dragged) return;
  event.preventDefault();
  node.focus({ preventScroll: true });
  node.setPointerCapture(event.pointerId);
  const [person, joint] = [Number(node.dataset.person), Number(node.dataset.joint)];
  const place = persons[person].joints[joint];
  const [x, y] = at(event);
  const grip = [x / canvas.width - place[0], y / canvas.height - place[1]];
  dragged = { node, person, joint, grip, before: copyOf(persons) };
});
handles.addEventListener("pointermove", (event) => {
  if (!dragged || !dragged.node.hasPointerCapture(event.pointerId)) return;
  const [x, y] = at(event);
  const { person, joint, grip, node } = dragged;
  const place = [limit(x / canvas.width - grip[0], 0, 1), limit(y / canvas.height - grip[1], 0, 1)];
  persons[person].joints[joint] = place;
  dragged.moved = true;
  putHandle(node, place);
  drawPose();
});
function drop(kept) {
  if (!dragged) return;
  const { person, joint, before, moved } = dragged;
  dragged = null;
  if (!kept) putPersons(before);
  else if (moved) remember({ what: `moved ${named(person, joint)}`, before, after: copyOf(persons), put: putPersons });
}
handles.addEventListener("pointerup", () => drop(true));
handles.addEventListener("pointercancel", () => drop(false));
handles.addEventListener("dblclick", (event) => {
  const node = event.target.closest(".cs-joint");
  if (node) hide(Number(node.dataset.person), Number(node.dataset.joint));
});
handles.addEventListener("keydown", (event) => {
  const node = event.target.closest(".cs-joint");
  if (!node || event.ctrlKey || event.metaKey || event.altKey) return;
  const [person, joint] = [Number(node.dataset.person), Number(node.dataset.joint)];
  const by = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
  if (by) {
    const step = event.shiftKey ? 8 : 1;
    const [x, y] = persons[person].joints[joint];
    const place = [limit(x + (step * by[0]) / canvas.width, 0, 1), limit(y + (step * by[1]) / canvas.height, 0, 1)];
    changePose(`moved ${named(person, joint)}`, () => (persons[person].joints[joint] = place), 300);
  } else if (event.key === "Delete" || event.key === "Backspace") hide(person, joint);
  else return;
  event.preventDefault();
});

function addPerson() {
  const joints = copyOf(given.pose.figure);
  changePose("added a person", () => persons.push({ joints, last: copyOf(joints) }));
  handleOf(persons.length - 1, 0)?.focus();
}

// ---- the list below: joints that are missing, people to add or remove

function drawPeople() {
  people.replaceChildren();
  people.hidden = given.kind !== "pose";
  if (people.hidden) return;
  persons.forEach(({ joints }, person) => {
    const row = make("div", "cs-actions");
    const whole = joints.every(Boolean);
    const state = whole ? "all joints are there." : "missing:";
    const said = persons.length > 1 ? `Person ${person + 1}: ${state}` : state[0].toUpperCase() + state.slice(1);
    row.append(make("span", "cs-note", said));
    joints.forEach((place, joint) => {
      if (place) return;
      const node = button(`+ ${given.pose.joints[joint]}`, () => add(person, joint));
      Object.assign(node.dataset, { person, joint });
      node.setAttribute("aria-label", `Add ${named(person, joint)}`);
      row.append(node);
    });
    const gone = button("Remove person", () => changePose("removed a person", () => persons.splice(person, 1)));
    gone.setAttribute("aria-label", `Remove person ${person + 1}`);
    row.append(gone);
    people.append(row);
  });
  const row = make("div", "cs-actions");
  row.append(button("Add a person", addPerson));
  people.append(row);
  drawRemark();
}
