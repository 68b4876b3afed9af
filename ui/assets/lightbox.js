// One picture, as large as the window allows.

const lightbox = (() => {
  const dialog = make("dialog", "cs-lightbox");
  dialog.setAttribute("aria-label", "Picture in full size");
  const image = make("img");
  const text = make("div", "cs-side");
  dialog.append(image, text);
  root.append(dialog);
  let at = 0;

  function fit() {
    const { width, height } = cells[at].data;
    const beside = innerWidth >= 720 ? 320 : 20; // the text stands beside or below
    const room = Math.min((innerWidth * 0.94 - beside) / width, (innerHeight * 0.9) / height);
    const scale = room >= 1 ? Math.floor(room) : room;
    image.style.width = `${Math.round(width * scale)}px`;
    image.classList.toggle("cs-sharp", scale >= 1);
  }
  function show(index) {
    at = index;
    const { data } = cells[at];
    image.src = data.src;
    image.alt = cells[at].image.alt;
    text.replaceChildren();
    const close = button("Close", () => dialog.close());
    close.classList.add("cs-close");
    text.append(
      close,
      make("h3", "", data.prompt || "No prompt"),
      make("p", "cs-label", count > 1 ? data.label : ""),
      make("p", "cs-note", `${data.width} × ${data.height} · seed ${data.seed}`),
      make("pre", "", data.settings),
      actions(data)
    );
    if (count > 1) text.append(star(), make("p", "cs-note", "Arrow keys show the other pictures, W picks the winner."));
    fit();
    if (!dialog.open) dialog.showModal();
  }
  function star() {
    const won = winner === at;
    const node = button(won ? "★ Winner" : "☆ Pick as winner", () => pickWinner(at));
    node.setAttribute("aria-pressed", String(won));
    return node;
  }
  dialog.addEventListener("click", (event) => event.target === dialog && dialog.close());
  dialog.addEventListener("close", () => cells[at] && focusCell(at));
  dialog.addEventListener("keydown", (event) => {
    const next = neighbour(at, event.key);
    if (next !== undefined) {
      event.preventDefault();
      show(next);
    } else if (event.key.toLowerCase() === "w" && count > 1 && !event.ctrlKey && !event.metaKey) {
      pickWinner(at);
    }
  });
  return {
    show,
    close: () => dialog.close(),
    fit: () => dialog.open && fit(),
    redraw: () => dialog.open && show(at),
  };
})();
