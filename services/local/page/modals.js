// Modal forms that the bot opens after a press: drawn as a dialog, sent off as `{block_id: {action_id: value}}`.

import { renderBlocks } from "./blocks.js";
import { fetchViews, submitView } from "./commands.js";
import { changed, h } from "./dom.js";

const LOOKS = 8; // a press opens its modal within three seconds, or never
const BETWEEN = 400; // ms
const left = new Set(); // ids of views that the person closed

/** Looks for a modal after a press, and shows it. */
export async function awaitModal() {
  for (let look = 0; look < LOOKS && !document.querySelector("dialog.modal"); look += 1) {
    await new Promise((later) => setTimeout(later, BETWEEN));
    const view = (await fetchViews())?.views?.find((one) => !left.has(one.id));
    if (view) return show(view);
  }
  return null;
}

function show(view) {
  if (document.querySelector("dialog.modal")) return;
  const fields = h("div", { class: "fieldset" });
  const send = h("button", { type: "submit", class: "button primary" }, view.submit?.text ?? "Submit");
  const close = h("button", { type: "button", class: "button" }, view.close?.text ?? "Cancel");
  const form = h("form", {}, h("h2", { id: "modal-title" }, view.title?.text ?? ""), fields, h("div", { class: "row" }, close, send));
  const dialog = h("dialog", { class: "modal", "aria-labelledby": "modal-title" }, form);
  close.addEventListener("click", () => dialog.close());
  dialog.addEventListener("close", () => {
    left.add(view.id);
    dialog.remove();
  });
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    send.setAttribute("aria-busy", "true");
    const answer = await submitView(view.id, entries(fields));
    send.removeAttribute("aria-busy");
    if (answer?.closed) dialog.close();
    else if (answer) await redraw(view.id, fields, answer.errors ?? {});
  });
  drawFields(fields, view.blocks ?? []);
  document.body.append(dialog);
  dialog.showModal();
}

async function redraw(id, fields, errors) {
  const view = (await fetchViews())?.views?.find((one) => one.id === id);
  if (view) drawFields(fields, view.blocks ?? []);
  for (const field of fields.children) {
    const note = field.querySelector(".problem");
    if (note) note.textContent = errors[field.dataset.block] ?? "";
  }
}

function drawFields(fields, blocks) {
  if (changed(fields, blocks)) fields.replaceChildren(...blocks.map((block) => (block.type === "input" ? input(block) : prose(block))));
}

function prose(block) {
  const place = h("div", { class: "content" });
  renderBlocks(place, [block], async () => false);
  return place;
}

function input(block) {
  const { element } = block;
  const required = !block.optional;
  const many = Array.isArray(element.options) && element.type !== "static_select";
  return h(many ? "fieldset" : "label", { class: "field", dataset: { block: block.block_id } },
    h(many ? "legend" : "span", {}, block.label?.text ?? "", block.optional ? h("span", { class: "faint" }, " optional") : ""),
    many ? options(block, element) : single(element, required),
    block.hint ? h("span", { class: "faint" }, block.hint.text) : "",
    h("span", { class: "problem", role: "alert" }));
}

function single(element, required) {
  const props = { dataset: { action: element.action_id }, required, maxlength: element.max_length ?? 3000 };
  const ghost = element.placeholder?.text ?? "";
  if (element.type === "static_select") {
    const chosen = element.initial_option?.value;
    return h("select", { ...props, maxlength: null }, h("option", { value: "" }, ghost || "Choose..."),
      element.options.map((option) => h("option", { value: option.value, selected: option.value === chosen }, option.text?.text ?? option.value)));
  }
  if (!element.multiline) return h("input", { ...props, type: "text", placeholder: ghost, value: element.initial_value });
  return h("textarea", { ...props, rows: "4", placeholder: ghost }, element.initial_value ?? "");
}

function options(block, element) {
  const type = element.type === "radio_buttons" ? "radio" : "checkbox";
  const first = [element.initial_option, ...(element.initial_options ?? [])].map((option) => option?.value);
  return element.options.map((option) => h("label", { class: "option" },
    h("input", { type, name: block.block_id, value: option.value, dataset: { action: element.action_id }, checked: first.includes(option.value) }),
    h("span", {}, option.text?.text ?? option.value)));
}

/** What was entered, several options of one input joined by commas as the simulator takes them. */
function entries(fields) {
  const values = {};
  for (const control of fields.querySelectorAll("[data-action]")) {
    if ((control.type === "radio" || control.type === "checkbox") && !control.checked) continue;
    if (!control.value) continue;
    const block = (values[control.closest("[data-block]").dataset.block] ??= {});
    const { action } = control.dataset;
    block[action] = block[action] ? `${block[action]},${control.value}` : control.value;
  }
  return values;
}
