// Task cards and plans: one line per tool call, with its details and output behind it.

import { changed, h, icon, reconcile } from "./dom.js";
import { announce } from "./announce.js";
import { ICONS } from "./icons.js";
import { link } from "./inline.js";
import { richText } from "./richtext.js";

const STATES = {
  pending: "Waiting", in_progress: "Running", complete: "Done", error: "Failed", stopped: "Stopped",
};

/** The blocks of a message that nobody writes to any more: what runs in them was stopped. */
export const settled = (blocks) => blocks.map((block) => ({
  ...block,
  ...(block.status === "in_progress" ? { status: "stopped" } : {}),
  ...(block.tasks ? { tasks: settled(block.tasks) } : {}),
}));

/** Draws a `task_card` into `node`; a card that a person opened stays open. */
export function renderTask(node, task) {
  const state = task.status in STATES ? task.status : "pending";
  node.classList.add("task");
  node.dataset.state = state;
  const more = [["Details", task.details], ["Output", task.output]].filter(([, body]) => body);
  const foldable = more.length > 0 || (task.sources ?? []).length > 0;
  let card = node.firstElementChild;
  if (card?.tagName !== (foldable ? "DETAILS" : "DIV")) {
    card = foldable ? h("details", {}, h("summary"), h("div", { class: "more" })) : h("div", { class: "summary" });
    node.replaceChildren(card);
  }
  const line = foldable ? card.firstElementChild : card;
  if (changed(line, [state, task.title])) drawLine(line, state, task.title, foldable);
  if (foldable && changed(card.lastElementChild, [more, task.sources])) drawBody(card.lastElementChild, more, task.sources);
}

function drawLine(line, state, title, foldable) {
  if (line.hasChildNodes() && state === "error") announce(`Failed: ${title}`);
  line.replaceChildren(
    icon(ICONS[state], `icon lamp ${state}`),
    h("span", { class: "hidden" }, `${STATES[state]}: `),
    h("span", { class: "title" }, title ?? ""),
    foldable ? icon(ICONS.chevron, "icon chevron") : "",
  );
}

function drawBody(body, more, sources = []) {
  body.replaceChildren(
    ...more.flatMap(([name, content]) => [h("h4", {}, name), ...richText(content)]),
    sources?.length ? h("p", { class: "sources" }, sources.map((one) => link(one.url, [one.text || one.url]))) : "",
  );
}

/** Draws a `plan`: its title and its tasks. */
export function renderPlan(node, plan) {
  if (!node.firstElementChild) node.append(h("h4", { class: "plan-title" }), h("div", { class: "tasks" }));
  const all = plan.tasks ?? [];
  const done = all.filter((task) => task.status === "complete").length;
  const [title, tasks] = node.children;
  title.replaceChildren(plan.title ?? "Plan", all.length ? h("span", { class: "faint" }, ` ${done} of ${all.length}`) : "");
  reconcile(tasks, all, {
    key: (task) => task.task_id,
    create: () => h("div", { class: "block" }),
    update: (place, task) => renderTask(place, task),
  });
}
