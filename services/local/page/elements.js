// The interactive parts of blocks: buttons that show their progress, and simple choices.

import { ask } from "./dialogs.js";
import { h } from "./dom.js";
import { link } from "./inline.js";

const PATIENCE = 8000; // ms until a pressed button that nothing answered can be pressed again

/** The node of one block element. */
export function element(one, press) {
  if (one.type === "button") return one.url ? linked(one) : button(one, press);
  if (Array.isArray(one.options)) return choice(one, press);
  return h("span", { class: "faint" }, one.text?.text ?? one.type ?? "");
}

function linked(one) {
  const anchor = link(one.url, [one.text?.text ?? one.url]);
  anchor.classList.add("button");
  return anchor;
}

function button(one, press) {
  const node = h("button", {
    type: "button", class: `button ${one.style === "primary" || one.style === "danger" ? one.style : ""}`,
    "aria-label": one.accessibility_label, dataset: { action: one.action_id ?? "" },
  }, one.text?.text ?? "");
  node.addEventListener("click", () => pressed(node, one.confirm, () => press(payload(one, one.value))));
  return node;
}

const payload = (one, value) => ({ action_id: one.action_id, ...(value === undefined ? {} : { value }) });

async function pressed(node, confirm, send) {
  if (node.ariaBusy === "true" || (confirm && !(await ask(confirm)))) return;
  const peers = [...node.parentElement.querySelectorAll("button, select")].filter((peer) => peer !== node);
  const free = () => {
    node.removeAttribute("aria-busy");
    for (const peer of peers) peer.disabled = false;
  };
  node.setAttribute("aria-busy", "true");
  for (const peer of peers) peer.disabled = true;
  if (await send()) setTimeout(free, PATIENCE);
  else free();
}

function choice(one, press) {
  const node = h("select", { "aria-label": one.placeholder?.text ?? "Choose" },
    h("option", { value: "" }, one.placeholder?.text ?? "Choose..."),
    one.options.map((option) => h("option", { value: option.value }, option.text?.text ?? option.value)));
  node.addEventListener("change", () => node.value && pressed(node, one.confirm, () => press(payload(one, node.value))));
  return node;
}
