// ---- following a run

function clear() {
  lightbox.close();
  grid.replaceChildren();
  grid.style.gridTemplateColumns = "";
  cells = [];
  count = 0;
  current = null;
  winner = null;
  setZoom(1, 0, 0);
  setComparing(false);
  drawTable(null);
  tools.hidden = about.hidden = true;
  tools.dataset.run = "";
}

async function ask(question) {
  try {
    return await server.poll(question);
  } catch {
    return undefined; // no connection; Gradio answers undefined as well
  }
}

async function follow(run, mine) {
  let status = null;
  while (mine === turn && element.isConnected) {
    const view = await ask({ run, seen: cells.map((cell) => cell.key) });
    if (!view) {
      if (mine !== turn) return;
      fill(line, "No connection to the server; trying again");
      line.hidden = false;
      await sleep(RETRY_MS);
      continue;
    }
    if (mine !== turn) return;
    if (view.memory) document.dispatchEvent(new CustomEvent("cs-memory", { detail: view.memory }));
    if (view.found) {
      count = view.count;
      grid.dataset.count = count;
      measure();
      if (view.table && !table) drawTable(view.table);
      view.cells.forEach(drawCell);
      if (view.winner !== winner) drawWinner(view.winner);
      drawTools(run, view);
    }
    frame(view.found ? view : null);
    if (view.status !== status) {
      status = view.status;
      trigger("run_state", { run });
    }
    if (!view.active) return;
    await sleep(POLL_MS);
  }
}

function show(run) {
  turn += 1;
  root.dataset.run = run || "";
  clear();
  frame(null);
  if (!run) return;
  empty.hidden = true;
  follow(run, turn);
}

new ResizeObserver(() => {
  resize();
  lightbox.fit();
}).observe(scroller);
watch("value", () => show(props.value));
show(props.value);
