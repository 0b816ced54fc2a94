// Errors, told in one sentence and gone by themselves.

import { byId, h, icon } from "./dom.js";
import { ICONS } from "./icons.js";

const STAYS = 7000; // ms
const MOST = 3;

/** Shows `sentence`; the same one is not shown twice at a time. */
export function toast(sentence) {
  const stack = byId("toasts");
  if ([...stack.children].some((one) => one.firstElementChild.textContent === sentence)) return;
  const close = h("button", { type: "button", class: "quiet", "aria-label": "Dismiss" }, icon(ICONS.close));
  const note = h("div", { class: "toast", role: "alert" }, h("span", {}, sentence), close);
  close.addEventListener("click", () => note.remove());
  setTimeout(() => note.remove(), STAYS);
  stack.append(note);
  while (stack.children.length > MOST) stack.firstElementChild.remove();
}
