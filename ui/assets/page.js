// Keys for the whole page: Ctrl+Enter (or ⌘+Enter) in a prompt generates, Escape stops a run.
() => {
  const press = (tab, id) => {
    const button = tab?.querySelector(`button[id$="-${id}"]`);
    if (!button || button.disabled) return false;
    button.click();
    return true;
  };
  // Tabs that were visited stay in the page, hidden.
  const shown = () => [...document.querySelectorAll(".cs-tab")].find((tab) => tab.offsetParent);
  const busy = (node) =>
    document.querySelector("dialog[open], .cs-choosing") || node.getAttribute?.("aria-expanded") === "true";

  document.addEventListener(
    "keydown",
    (event) => {
      const tab = event.target.closest?.(".cs-tab") || shown();
      if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
        if (!event.target.closest?.(".cs-form")) return;
        event.preventDefault();
        event.stopPropagation();
        press(tab, "generate");
      } else if (event.key === "Escape" && !busy(event.target)) {
        press(tab, "stop");
      }
    },
    true
  );
  // Gradio runs this when the page is whole; what is pressed or clicked before that is lost.
  document.documentElement.dataset.ready = "true";
}
