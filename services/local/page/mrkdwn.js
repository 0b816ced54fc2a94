// Slack's own mrkdwn (`*bold*`, `<url|label>`, `<@U1>`) to nodes.

import { h } from "./dom.js";
import { angle, bareAddress, between, codeSpan, link, scan } from "./inline.js";
import { channelNameOf, mentionOf } from "./names.js";
import { copyable } from "./copy.js";
import { moment } from "./time.js";

const plain = (text) => text.replaceAll("&lt;", "<").replaceAll("&gt;", ">").replaceAll("&amp;", "&");

const mark = (tag, options) => (text, at, nest, barren) => {
  const inner = between(text, at, text[at], barren, options);
  return inner && !inner[0].includes("\n") ? [h(tag, {}, ...nest(inner[0])), inner[1]] : null;
};

const BROADCAST = /^<!(here|channel|everyone)(?:\|[^>]*)?>/;
const CHANNEL = /^<#([A-Z0-9]{1,24})(?:\|([^<>\n]*))?>/;
const LABELLED = /^<((?:https?:\/\/|mailto:)[^<>|\s]+)\|([^<>]*)>/;
const DATE = /^<!date\^(\d{1,11})\^[^|>]*\|[^<>]*>/;

function bracket(text, at) {
  const rest = text.slice(at, at + 2000);
  let match = LABELLED.exec(rest);
  if (match) return [link(plain(match[1]), [plain(match[2])]), at + match[0].length];
  match = CHANNEL.exec(rest);
  if (match) return [h("span", { class: "mention" }, `#${match[2] || channelNameOf(match[1])}`), at + match[0].length];
  match = BROADCAST.exec(rest);
  if (match) return [h("span", { class: "mention" }, `@${match[1]}`), at + match[0].length];
  match = DATE.exec(rest);
  return match ? [moment(match[1]), at + match[0].length] : angle(text, at);
}

function entity(text, at) {
  const match = /^&(lt|gt|amp);/.exec(text.slice(at, at + 5));
  return match && [plain(match[0]), at + match[0].length];
}

function code(text, at) {
  const found = text.startsWith("```", at) ? null : codeSpan(text, at);
  if (found) found[0].textContent = plain(found[0].textContent);
  return found;
}

const whole = { wholeWords: true };
const RULES = {
  "*": mark("strong", whole), _: mark("em", whole), "~": mark("s", whole), "`": code, "<": bracket, "&": entity,
  h: bareAddress, "\n": (text, at) => [h("br"), at + 1],
};

/** Nodes of one run of mrkdwn, without fences and quotes. */
export const mrkdwnInline = (text) => scan(text, RULES);

/** Draws mrkdwn `text` into `node`: fences, quotes, then lines. */
export function renderMrkdwn(node, text) {
  const parts = text.slice(0, 100_000).split(/```\n?([\s\S]*?)(?:\n?```|$)/);
  node.replaceChildren(...parts.flatMap((part, at) => (at % 2 ? fence(part) : lines(part))));
}

function fence(text) {
  const box = copyable();
  box.show(plain(text));
  return [box];
}

function lines(part) {
  const groups = part.replace(/^\n|\n$/g, "").split(/((?:^(?:&gt;|>).*(?:\n|$))+)/m);
  return groups.filter((group) => group.trim()).map((group) => {
    const quoted = /^(?:&gt;|>)/.test(group);
    const text = quoted ? group.replace(/^(?:&gt;|>) ?/gm, "") : group;
    return h(quoted ? "blockquote" : "p", {}, ...mrkdwnInline(text.trimEnd()));
  });
}

/** What plain words a mrkdwn text says, for titles and announcements. */
export const inWords = (text) =>
  plain(text.replace(/<@([A-Z0-9]+)[^>]*>/g, (all, id) => mentionOf(id)).replace(/<[^<>|]+\|([^<>]*)>/g, "$1"));
