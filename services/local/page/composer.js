// Where a person writes: Enter sends, Shift+Enter breaks the line; files by button, paste or drop.

import { h, icon } from "./dom.js";
import { basket } from "./files.js";
import { ICONS } from "./icons.js";
import { completion } from "./mentions.js";
import { toSlack } from "./names.js";

const TALLEST = 240; // px

/**
 * Builds a composer into `form`. `send(text, files, asked)` answers null where it failed, and then the text stays.
 * `target()` names the place that is written to, nothing while there is none; each has its own draft, changed at
 * `refresh()`. With `mention()` true the person sees, and can switch off, that the bot is asked.
 */
export function composer(form, { label, target, placeholder, mention = () => false, send }) {
  const area = h("textarea", { rows: "1", disabled: true, "aria-label": label, autocomplete: "off", spellcheck: "true" });
  const tray = h("div", { class: "files" });
  const files = basket(tray);
  const picker = h("input", { type: "file", multiple: true, hidden: true, disabled: true, tabindex: "-1", "aria-label": "Files" });
  const attach = h("button", { type: "button", class: "quiet", disabled: true, title: "Attach files", "aria-label": "Attach files" }, icon(ICONS.attach));
  const toggle = h("button", { type: "button", class: "toggle", "aria-pressed": "true" }, "Ask @threadmill");
  const submit = h("button", { type: "submit", class: "send", title: "Send (Enter)", "aria-label": "Send" }, icon(ICONS.send));
  form.append(tray, area, h("div", { class: "bar" }, attach, picker, toggle, h("span", { class: "hint" }, "Shift+Enter for a new line"), submit));
  const menu = completion(area, form);

  const grow = () => {
    area.style.height = "auto";
    if (area.scrollHeight) area.style.height = `${Math.min(area.scrollHeight, TALLEST)}px`; // 0 while out of view
    submit.disabled = !area.value.trim() && !files.count();
  };
  const drafts = new Map(); // what was begun elsewhere waits there
  let here = null;
  const refresh = () => {
    if (target() !== here) {
      drafts.set(here, area.value);
      here = target();
      area.value = drafts.get(here) ?? "";
      files.clear();
    }
    for (const control of [area, attach, picker]) control.disabled = !here; // what comes before there is a place for it would be lost
    area.placeholder = placeholder();
    toggle.hidden = !mention();
    grow();
  };
  const deliver = async () => {
    const text = area.value.trim();
    if ((!text && !files.count()) || form.ariaBusy === "true") return;
    form.ariaBusy = "true";
    const addressed = here;
    const asked = mention() && toggle.getAttribute("aria-pressed") === "true";
    const sent = await send(toSlack(text), await files.encoded(), asked);
    form.ariaBusy = "false";
    if (!sent) return;
    drafts.delete(addressed);
    if (here === addressed && area.value.trim() === text) area.value = "";
    if (here === addressed) files.clear();
    grow();
  };

  area.addEventListener("input", grow);
  area.addEventListener("keydown", (event) => {
    if (menu.takes(event) || event.key !== "Enter" || event.shiftKey || event.isComposing) return;
    event.preventDefault();
    deliver();
  });
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    deliver();
  });
  toggle.addEventListener("click", () => toggle.setAttribute("aria-pressed", String(toggle.getAttribute("aria-pressed") !== "true")));
  attach.addEventListener("click", () => picker.click());
  picker.addEventListener("change", () => {
    files.add(picker.files);
    picker.value = "";
    grow();
  });
  takeFiles(form, (list) => {
    files.add(list);
    grow();
  });
  return {
    refresh,
    focus: () => area.focus(),
    fill(text) {
      area.value = text;
      grow();
      area.focus();
    },
  };
}

function takeFiles(form, add) {
  const panel = form.closest("section");
  const holds = (event) => event.dataTransfer?.types.includes("Files");
  form.addEventListener("paste", (event) => {
    if (!event.clipboardData.files.length) return;
    event.preventDefault();
    add(event.clipboardData.files);
  });
  panel.addEventListener("dragover", (event) => {
    if (!holds(event)) return;
    event.preventDefault();
    panel.classList.add("dropping");
  });
  panel.addEventListener("dragleave", (event) => panel.contains(event.relatedTarget) || panel.classList.remove("dropping"));
  panel.addEventListener("drop", (event) => {
    panel.classList.remove("dropping");
    if (!holds(event)) return;
    event.preventDefault();
    add(event.dataTransfer.files);
  });
}
