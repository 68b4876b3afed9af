// What is in memory, and the button that frees what is idle. Whoever follows a run says what
// changed meanwhile, by an event of the document: see follow.js.

const root = element.querySelector(".cs-memory");
const note = make("p", "cs-note");
const free = button("Free memory", () => tell(server.free));
free.title = "Models that no run uses leave memory. They come back when they are needed.";
root.append(note, free);

async function tell(ask) {
  free.disabled = true; // it waits for a model that is being loaded
  try {
    const said = await ask({});
    if (said) fill(note, said);
  } catch {
    // No connection: the line stays as it was.
  } finally {
    free.disabled = false;
  }
}

document.addEventListener("cs-memory", (event) => fill(note, event.detail));
tell(server.look);
