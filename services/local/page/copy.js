// Code in a box that scrolls, with a button that copies it.

import { h, icon } from "./dom.js";
import { ICONS } from "./icons.js";
import { announce } from "./announce.js";
import { toast } from "./toasts.js";

const SAID_FOR = 1500; // ms that "Copied" stands

/** A code box; `box.show(code, language)` fills it without losing the button's focus. */
export function copyable() {
  const code = h("code");
  const label = h("span", { class: "language" });
  const button = copyButton("Copy code", () => code.textContent);
  const box = h("div", { class: "code" }, h("pre", { tabindex: "0" }, code), label, button);
  box.show = (text, language = "") => {
    code.textContent = text;
    label.textContent = language;
  };
  return box;
}

/** A button that copies what `read()` gives. */
export function copyButton(title, read) {
  const button = h("button", { type: "button", class: "quiet copy", title, "aria-label": title }, icon(ICONS.copy));
  button.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(read());
    } catch {
      return toast("The browser did not allow copying.");
    }
    announce("Copied.");
    button.classList.add("done");
    return setTimeout(() => button.classList.remove("done"), SAID_FOR);
  });
  return button;
}
