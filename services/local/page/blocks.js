// Block Kit to nodes: one renderer per block type; an unknown type says what it is.

import { changed, h, icon, reconcile } from "./dom.js";
import { element } from "./elements.js";
import { folded } from "./folding.js";
import { ICONS } from "./icons.js";
import { link } from "./inline.js";
import { grid, renderMarkdown } from "./markdown.js";
import { mrkdwnInline, renderMrkdwn } from "./mrkdwn.js";
import { richText } from "./richtext.js";
import { renderPlan, renderTask } from "./tasks.js";

/** Draws `blocks` into `node`. `press({action_id, value?})` is a promise that the press was taken. */
export function renderBlocks(node, blocks, press) {
  node.opened ??= new Set(); // the runs of cards that the person unfolded
  const unfold = (first) => {
    node.opened.add(first);
    renderBlocks(node, blocks, press);
    node.querySelector(`[data-key="task:${CSS.escape(first)}"] summary`)?.focus();
  };
  const held = (id) => node.querySelector(`[data-key="task:${CSS.escape(id)}"] > details`)?.open;
  const shown = folded(blocks.map((block, index) => ({ ...block, index })), node.opened, held);
  reconcile(node, shown, {
    key: (block) => KEY[block.type]?.(block) ?? `${block.index}:${block.type}`,
    create: (block) => h("div", { class: `block ${String(block.type).replace(/\W/g, "-")}` }),
    update: (place, block) =>
      changed(place, block) && (RENDER[block.type] ?? unknown)(place, block, block.type === "fold" ? unfold : press),
  });
}

const KEY = { task_card: (block) => `task:${block.task_id}`, fold: (block) => `fold:${block.first}` };

const RENDER = {
  section, context, actions, table, image, fold,
  header: (node, block) => node.replaceChildren(h("h3", {}, block.text?.text ?? "")),
  divider: (node) => node.replaceChildren(h("hr")),
  markdown: (node, block) => renderMarkdown(node, block.text ?? ""),
  rich_text: (node, block) => node.replaceChildren(...richText(block)),
  task_card: renderTask,
  plan: renderPlan,
  file: (node, block) => node.replaceChildren(h("p", {}, icon(ICONS.file), ` ${block.external_id ?? "A file"}`)),
};

function fold(node, { first, count }, unfold) {
  const steps = count === 1 ? "1 earlier step" : `${count} earlier steps`;
  node.replaceChildren(h("button", { type: "button", class: "fold-button", on: { click: () => unfold(first) } }, `Show ${steps}`));
}

function unknown(node, block) {
  node.replaceChildren(h("p", { class: "faint" }, `This page cannot draw a block of type ${block.type}.`));
}

/** Draws a Block Kit text object into `node`. */
export function renderText(node, text) {
  if (text?.type === "mrkdwn") renderMrkdwn(node, text.text ?? "");
  else node.replaceChildren(text?.text ?? "");
}

function section(node, block, press) {
  const body = h("div", { class: "section-text" });
  renderText(body, block.text);
  const fields = (block.fields ?? []).map((field) => {
    const place = h("div");
    renderText(place, field);
    return place;
  });
  node.replaceChildren(
    h("div", {}, body, fields.length > 0 && h("div", { class: "fields" }, fields)),
    block.accessory ? element(block.accessory, press) : "",
  );
}

function context(node, block) {
  node.replaceChildren(...(block.elements ?? []).map((one) => {
    if (one.type === "image") return h("span", {}, one.alt_text ?? "");
    return h("span", {}, ...(one.type === "mrkdwn" ? mrkdwnInline(one.text ?? "") : [one.text ?? ""]));
  }));
}

function actions(node, block, press) {
  node.setAttribute("role", "group");
  node.replaceChildren(...(block.elements ?? []).map((one) => element(one, press)));
}

function table(node, block) {
  const rows = (block.rows ?? []).map((row) => row.map((cell) => (cell.type === "rich_text" ? richText(cell) : [String(cell.text ?? cell.value ?? "")])));
  const aligns = (block.column_settings ?? []).map((column) => column?.align ?? "left");
  node.tabIndex = 0;
  node.replaceChildren(rows.length ? grid(rows, aligns) : "");
}

// The page asks no other host for anything: a picture is shown by its words and a link.
function image(node, block) {
  const address = block.image_url ?? block.slack_file?.url ?? "";
  node.replaceChildren(h("p", {}, icon(ICONS.file), " ", link(address, [block.title?.text || block.alt_text || "An image"])));
}
