// The two dialogs: a yes-or-no question, and the keys.

import { byId, h } from "./dom.js";

/** Asks a Block Kit `confirm` object; true where the person agreed. */
export function ask({ title, text, confirm, deny, style }) {
  const yes = h("button", { value: "yes", class: `button ${style === "danger" ? "danger" : "primary"}` }, confirm?.text ?? "Yes");
  const no = h("button", { value: "no", class: "button" }, deny?.text ?? "Cancel");
  const dialog = h("dialog", { "aria-labelledby": "ask-title" },
    h("form", { method: "dialog" }, h("h2", { id: "ask-title" }, title?.text ?? "Are you sure?"),
      h("p", {}, text?.text ?? ""), h("div", { class: "row" }, no, yes)));
  document.body.append(dialog);
  dialog.showModal();
  return new Promise((answer) => {
    dialog.addEventListener("close", () => {
      dialog.remove();
      answer(dialog.returnValue === "yes");
    });
  });
}

/** Opens the list of keys: `[[keys, what they do], ...]`. */
export function showKeys(rows) {
  const dialog = byId("keys");
  if (dialog.open) return;
  const keys = (text) => text.split(" ").flatMap((key, at) => (at ? [" ", h("kbd", {}, key)] : [h("kbd", {}, key)]));
  byId("keys-list").replaceChildren(...rows.flatMap(([press, what]) => [h("dt", {}, ...keys(press)), h("dd", {}, what)]));
  dialog.showModal();
}
