// Reactions under a message, and the small menu that adds one.

import { h } from "./dom.js";
import { glyph, PICKER } from "./icons.js";
import { me } from "./me.js";
import { nameOf } from "./names.js";

const said = (name) => name.replaceAll("_", " ");

/** The chips of `reactions`; `toggle(name, remove)` is called on a press. */
export function chips(reactions, toggle) {
  return reactions.filter((one) => one.count > 0).map(({ name, users = [], count }) => {
    const own = users.includes(me());
    const who = users.map(nameOf).join(", ");
    return h("button", {
      type: "button", class: "chip", "aria-pressed": String(own), title: `${who}: ${said(name)}`,
      "aria-label": `${said(name)}, ${count}: ${who}`, on: { click: () => toggle(name, own) },
    }, h("span", { class: "glyph" }, glyph(name)), h("span", { class: "count" }, String(count)));
  });
}

/** Opens the picker below `anchor`; `pick(name)` is called once at most. */
export function openPicker(anchor, pick) {
  document.querySelector(".picker")?.remove();
  const menu = h("div", { class: "picker", role: "menu", "aria-label": "Add a reaction" });
  const close = (refocus) => {
    menu.remove();
    removeEventListener("pointerdown", outside);
    if (refocus) anchor.focus();
  };
  const outside = (event) => !menu.contains(event.target) && close(false);
  menu.append(...PICKER.map((name) => h("button", {
    type: "button", role: "menuitem", title: said(name), "aria-label": said(name), dataset: { name },
    on: { click: () => { close(true); pick(name); } },
  }, glyph(name))));
  menu.addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (event.key === "Escape") close(true);
    else if (step) [...menu.children].at((([...menu.children].indexOf(document.activeElement) + step) % PICKER.length)).focus();
    else return;
    event.stopPropagation();
    event.preventDefault();
  });
  anchor.parentElement.append(menu);
  addEventListener("pointerdown", outside);
  menu.firstElementChild.focus();
}
