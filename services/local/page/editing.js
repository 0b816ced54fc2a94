// Changing one's own message in its place.

import { edit } from "./commands.js";
import { h } from "./dom.js";
import { fromSlack, toSlack } from "./names.js";

/** Puts an editor into a message node; Enter saves, Escape leaves it as it was. */
export function startEdit(node, channel) {
  if (node.classList.contains("editing")) return;
  const { ts, text } = node.message;
  const area = h("textarea", { "aria-label": "Edit your message", rows: "3" });
  const close = () => {
    editor.remove();
    node.classList.remove("editing");
    node.focus();
  };
  const save = async () => {
    const typed = area.value.trim();
    if (typed && (await edit(channel, ts, toSlack(typed)))) close();
  };
  const editor = h("div", { class: "editor" }, area, h("div", { class: "row" },
    h("button", { type: "button", class: "button", on: { click: close } }, "Cancel"),
    h("button", { type: "button", class: "button primary", on: { click: save } }, "Save")));
  area.value = fromSlack(text ?? "");
  area.addEventListener("keydown", (event) => {
    if (event.key === "Escape") close();
    else if (event.key === "Enter" && !event.shiftKey && !event.isComposing) save();
    else return;
    event.preventDefault();
    event.stopPropagation();
  });
  node.classList.add("editing");
  node.content.after(editor);
  area.focus();
}
