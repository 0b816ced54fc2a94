// Slack's `rich_text` blocks to nodes.

import { h } from "./dom.js";
import { copyable } from "./copy.js";
import { glyph } from "./icons.js";
import { link, mention } from "./inline.js";
import { channelNameOf } from "./names.js";

/** Nodes of a `rich_text` block, or of the plain string that some senders put in its place. */
export function richText(block) {
  if (typeof block === "string") return [h("p", {}, block)];
  return (block?.elements ?? []).flatMap(part);
}

function part(element) {
  const inner = element.elements ?? [];
  switch (element.type) {
    case "rich_text_preformatted": {
      const box = copyable();
      box.show(inner.map((one) => one.text ?? one.url ?? "").join(""), element.language);
      return [box];
    }
    case "rich_text_list":
      return [h(element.style === "ordered" ? "ol" : "ul", {}, inner.map((one) => h("li", {}, part(one))))];
    case "rich_text_quote":
      return [h("blockquote", {}, inner.map(span))];
    default:
      return [h("p", {}, inner.map(span))];
  }
}

function span(element) {
  switch (element.type) {
    case "link":
      return link(element.url, [element.text || element.url]);
    case "user":
      return mention(element.user_id);
    case "channel":
      return h("span", { class: "mention" }, `#${channelNameOf(element.channel_id)}`);
    case "broadcast":
      return h("span", { class: "mention" }, `@${element.range}`);
    case "emoji":
      return glyph(element.name);
    default:
      return styled(element.text ?? "", element.style ?? {});
  }
}

function styled(text, style) {
  const tags = [style.code && "code", style.bold && "strong", style.italic && "em", style.strike && "s"].filter(Boolean);
  const lines = text.split("\n").flatMap((line, at) => (at ? [h("br"), line] : [line]));
  return h("span", {}, tags.reduce((inner, tag) => [h(tag, {}, ...inner)], lines));
}
