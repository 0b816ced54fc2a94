// Builds and updates the document from nodes; no string is ever parsed as markup.

const SVG = "http://www.w3.org/2000/svg";

/** An element: `h("button", {class, dataset, on: {click}, ...attributes}, ...children)`. */
export function h(tag, props = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(props)) set(node, name, value);
  node.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return node;
}

function set(node, name, value) {
  if (value === null || value === undefined || value === false) return;
  if (name === "on") for (const [type, listener] of Object.entries(value)) node.addEventListener(type, listener);
  else if (name === "dataset") Object.assign(node.dataset, value);
  else if (name.startsWith("on") || name === "style") throw new TypeError(`${name} is not an attribute of ours`);
  else node.setAttribute(name, value === true ? "" : String(value));
}

/** An icon of 16 by 16 drawn by one path, hidden from screen readers. */
export function icon(path, kind = "icon") {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("viewBox", "0 0 16 16");
  svg.setAttribute("class", kind);
  svg.setAttribute("aria-hidden", "true");
  const line = document.createElementNS(SVG, "path");
  line.setAttribute("d", path);
  svg.append(line);
  return svg;
}

/** Makes `parent`'s children those of `items`, keeping every node whose key stays (focus and selection live on). */
export function reconcile(parent, items, { key, create, update }) {
  const wanted = new Set(items.map(key));
  const known = new Map();
  for (const child of [...parent.children]) {
    if (wanted.has(child.dataset.key)) known.set(child.dataset.key, child);
    else child.remove();
  }
  let place = parent.firstElementChild;
  for (const item of items) {
    const id = key(item);
    const node = known.get(id) ?? create(item);
    node.dataset.key = id;
    update(node, item);
    if (node === place) place = place.nextElementSibling;
    else parent.insertBefore(node, place);
  }
}

const seen = new WeakMap();

/** Whether `value` differs from the one `node` showed at the last call. */
export function changed(node, value) {
  const now = JSON.stringify(value);
  if (seen.get(node) === now) return false;
  seen.set(node, now);
  return true;
}

export const byId = (id) => document.getElementById(id);
