// Two pictures on top of each other: a slider between them, one through the other, a flip, or where they differ.

// Where the two are, by mode; in a flip one is shown at a time.
const PLACES = { slider: ["Left", "Right"], overlay: ["Above", "Below"], difference: ["First", "Second"] };

function makeComparison(host) {
  const dialog = make("dialog", "cs-lightbox cs-compare");
  dialog.setAttribute("aria-label", "Two pictures compared");
  const stage = make("div", "cs-stage");
  const under = make("img");
  const over = make("img");
  const heat = make("canvas");
  const split = make("span", "cs-split");
  stage.append(under, over, heat, split);
  const side = make("div", "cs-side");
  const slider = make("input");
  Object.assign(slider, { type: "range", min: 0, max: 100, value: 50 });
  slider.setAttribute("aria-label", "How much of the first picture is shown");
  const words = make("p", "cs-note");
  const names = make("div", "cs-names");
  const modes = make("div", "cs-actions");
  const hint = make("span", "cs-note");
  hint.setAttribute("role", "status");
  let mode = "slider";
  let pair = [];

  for (const [id, text] of [["slider", "Slider"], ["overlay", "Overlay"], ["flip", "Flip"], ["difference", "Difference"]]) {
    const node = button(text, () => setMode(id));
    node.dataset.mode = id;
    modes.append(node);
  }
  const close = button("Close", () => dialog.close());
  close.classList.add("cs-close");
  side.append(close, modes, names, slider, words);
  dialog.append(stage, side);
  host.append(dialog);

  function setMode(id) {
    mode = stage.dataset.mode = id;
    for (const node of modes.children) node.setAttribute("aria-pressed", String(node.dataset.mode === id));
    slider.hidden = mode !== "slider" && mode !== "overlay";
    heat.hidden = mode !== "difference";
    split.hidden = mode !== "slider";
    over.hidden = mode === "difference";
    over.style.visibility = "visible";
    over.style.clipPath = over.style.opacity = "";
    if (!slider.hidden) slide();
    if (mode === "flip") fill(words, "Click the picture, or press Space, to flip.");
    if (mode === "difference") drawDifference();
    describe();
  }
  function describe() {
    const [one, other] = PLACES[mode] || [];
    const shown = over.style.visibility === "visible" ? 0 : 1;
    const told = one ? [`${one}: ${pair[0].name}`, `${other}: ${pair[1].name}`] : [pair[shown].name];
    names.replaceChildren(...told.map((text) => make("p", "cs-label", text)));
  }
  function slide() {
    if (mode === "overlay") {
      over.style.opacity = slider.value / 100;
      fill(words, "The slider says how strong the one above is.");
      return;
    }
    over.style.clipPath = `inset(0 ${100 - slider.value}% 0 0)`;
    split.style.left = `${slider.value}%`;
    fill(words, "Drag the line, or the slider.");
  }
  function drag(event) {
    if (mode !== "slider" || !(event.buttons & 1)) return;
    event.preventDefault(); // no selection of the pictures
    const box = stage.getBoundingClientRect();
    slider.value = (100 * (event.clientX - box.left)) / box.width;
    slide();
  }
  function flip() {
    if (mode !== "flip") return;
    over.style.visibility = over.style.visibility === "visible" ? "hidden" : "visible";
    describe();
  }
  // The largest difference of the three channels, from black (none) over red to white (all).
  async function drawDifference() {
    await Promise.all([under.decode(), over.decode()]);
    const { width, height } = pair[0];
    const pixels = [over, under].map((image) => {
      const canvas = make("canvas");
      Object.assign(canvas, { width, height });
      const pen = canvas.getContext("2d", { willReadFrequently: true });
      pen.drawImage(image, 0, 0, width, height);
      return pen.getImageData(0, 0, width, height).data;
    });
    Object.assign(heat, { width, height });
    const pen = heat.getContext("2d");
    const out = pen.createImageData(width, height);
    let most = 0;
    for (let i = 0; i < out.data.length; i += 4) {
      let apart = 0;
      for (let c = 0; c < 3; c++) apart = Math.max(apart, Math.abs(pixels[0][i + c] - pixels[1][i + c]));
      most = Math.max(most, apart);
      const glow = Math.min(255, 3 * apart);
      out.data.set([glow, Math.max(0, 2 * apart - 255), Math.max(0, 2 * apart - 255), 255], i);
    }
    pen.putImageData(out, 0, 0);
    fill(words, `Largest difference ${most} of 255. Black is equal, red and white differ.`);
  }
  function fit() {
    const { width, height } = pair[0];
    const beside = innerWidth >= 720 ? 320 : 20;
    const room = Math.min((innerWidth * 0.94 - beside) / width, (innerHeight * 0.9) / height);
    const scale = room >= 1 ? Math.floor(room) : room;
    stage.style.width = `${Math.round(width * scale)}px`;
    stage.style.aspectRatio = `${width} / ${height}`;
    stage.classList.toggle("cs-sharp", scale >= 1);
  }
  slider.addEventListener("input", slide);
  stage.addEventListener("click", flip);
  stage.addEventListener("pointerdown", (event) => {
    stage.setPointerCapture(event.pointerId);
    drag(event);
  });
  stage.addEventListener("pointermove", drag);
  dialog.addEventListener("click", (event) => event.target === dialog && dialog.close());
  dialog.addEventListener("keydown", (event) => {
    if (event.key !== " " || event.target.closest("button")) return;
    event.preventDefault();
    flip();
  });
  return {
    hint,
    show(one, other, wanted = mode) {
      pair = [one, other];
      over.src = one.src;
      over.alt = one.name;
      under.src = other.src;
      under.alt = other.name;
      fit();
      setMode(wanted);
      dialog.showModal();
    },
  };
}
