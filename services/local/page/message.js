// One message: who, when, what, its files, reactions and tools.

import { announce } from "./announce.js";
import { renderBlocks } from "./blocks.js";
import { press, react, remove } from "./commands.js";
import { ask } from "./dialogs.js";
import { changed, h, icon } from "./dom.js";
import { startEdit } from "./editing.js";
import { fileList } from "./files.js";
import { ICONS } from "./icons.js";
import { renderMarkdown } from "./markdown.js";
import { me } from "./me.js";
import { inWords, renderMrkdwn } from "./mrkdwn.js";
import { awaitModal } from "./modals.js";
import { avatar, isBot, nameOf } from "./names.js";
import { chips, openPicker } from "./reactions.js";
import { settled } from "./tasks.js";
import { ago, clock, fullTime, iso } from "./time.js";

/** An empty message node for `updateMessage`. */
export function createMessage() {
  const parts = ["head", "content", "files", "reactions", "foot"].map((name) => h("div", { class: name }));
  const tools = h("div", { class: "tools" });
  const node = h("li", { class: "message", tabindex: "-1" }, h("div", { class: "avatar", "aria-hidden": "true" }), h("div", { class: "body" }, parts), tools);
  [node.head, node.content, node.files, node.reactions, node.foot] = parts;
  node.tools = tools;
  return node;
}

/** Draws what changed of `message`; `view` is `{channel, open(ts)?}`, with `open` where replies are elsewhere. */
export function updateMessage(node, message, view) {
  if (!changed(node, [message, me()])) return;
  const focused = node.contains(document.activeElement);
  const author = message.user ?? message.bot_id;
  node.message = message;
  node.dataset.streaming = message.streaming_state ?? "";
  node.classList.toggle("bot", isBot(message));
  node.classList.toggle("ephemeral", Boolean(message.is_ephemeral));
  if (changed(node.head, [author, message.edited])) drawHead(node, message, author);
  drawContent(node, message, view);
  if (changed(node.files, message.files ?? [])) node.files.replaceChildren(...fileList(message.files ?? []));
  node.reactions.replaceChildren(...chips(message.reactions ?? [], (name, own) => react(view.channel, message.ts, name, own)));
  node.foot.replaceChildren(...foot(message, view));
  if (changed(node.tools, [view.channel, message.ts, me()])) node.tools.replaceChildren(...tools(node, view));
  tellStream(node, message);
  if (focused && !node.contains(document.activeElement)) node.focus({ preventScroll: true });
}

function drawHead(node, message, author) {
  node.firstElementChild.replaceChildren(avatar(author, isBot(message)));
  node.setAttribute("aria-label", `${nameOf(author)}, ${clock(message.ts)}`);
  node.head.replaceChildren(
    h("strong", { class: "name" }, nameOf(author)),
    h("time", { datetime: iso(message.ts), title: fullTime(message.ts) }, clock(message.ts)),
    message.edited ? h("span", { class: "faint" }, "edited") : "",
    message.is_ephemeral ? h("span", { class: "faint" }, "only you can see this") : "",
  );
}

function drawContent(node, message, view) {
  // A person's rich_text says no more than its text, which also shows fences and emphasis as they were meant.
  const kind = isBot(message) && message.blocks?.length ? "blocks" : message.streaming_state ? "markdown" : "mrkdwn";
  if (node.content.dataset.kind !== kind) node.content.replaceChildren();
  node.content.dataset.kind = kind;
  try {
    drawKind(kind, node, message, view);
  } catch {
    node.content.replaceChildren(h("p", {}, message.text ?? ""), h("p", { class: "faint" }, "This page cannot draw all of this message."));
  }
}

function drawKind(kind, node, message, view) {
  if (kind === "blocks") renderBlocks(node.content, message.streaming_state === "in_progress" ? message.blocks : settled(message.blocks), (action) => pressed(view.channel, message.ts, action));
  else if (kind === "markdown") renderMarkdown(node.content, message.text ?? "");
  else renderMrkdwn(node.content, message.text ?? "");
}

async function pressed(channel, ts, action) {
  const taken = await press(channel, ts, action);
  if (taken) awaitModal();
  return taken;
}

function foot(message, view) {
  if (!view.open || !message.reply_count) return [];
  const count = message.reply_count === 1 ? "1 reply" : `${message.reply_count} replies`;
  return [h("button", { type: "button", class: "replies", on: { click: () => view.open(message.ts) } },
    h("strong", {}, count), h("span", { class: "faint" }, `last reply ${ago(message.latest_reply ?? message.ts)}`))];
}

function tools(node, view) {
  const { ts, user } = node.message;
  const tool = (name, title, act) =>
    h("button", { type: "button", class: "quiet", title, "aria-label": title, on: { click: (event) => act(event.currentTarget) } }, icon(ICONS[name]));
  const own = user === me() && !isBot(node.message);
  return [
    tool("smile", "Add a reaction", (anchor) => openPicker(anchor, (name) => react(view.channel, ts, name))),
    view.open && tool("reply", "Reply in a thread", () => view.open(ts)),
    own && tool("edit", "Edit", () => startEdit(node, view.channel)),
    own && tool("trash", "Delete", () => confirmRemove(view.channel, ts)),
  ].filter(Boolean);
}

async function confirmRemove(channel, ts) {
  const question = {
    title: { text: "Delete this message?" }, text: { text: "A turn that has already started from it goes on." },
    confirm: { text: "Delete" }, style: "danger",
  };
  if (await ask(question)) await remove(channel, ts);
}

// A stream is read out when it ends; while it runs its paragraphs are too many to follow.
function tellStream(node, message) {
  const before = node.toldState;
  node.toldState = message.streaming_state;
  if (before !== "in_progress" || message.streaming_state === "in_progress") return;
  const outcome = message.streaming_state === "errored" ? "was interrupted" : "answered";
  announce(`${nameOf(message.user)} ${outcome}: ${inWords(node.content.textContent)}`);
}
