// Small helpers, put before the scripts of the components that use them.

const make = (tag, className, text) => {
  const node = document.createElement(tag);
  if (className) node.className = className;
  if (text !== undefined) node.textContent = text;
  return node;
};
const sleep = (ms) => new Promise((wake) => setTimeout(wake, ms));
const fill = (node, text) => {
  if (node.textContent !== text) node.textContent = text;
};

const button = (label, action) => {
  const node = make("button", "cs-button", label);
  node.type = "button";
  node.addEventListener("click", action);
  return node;
};
