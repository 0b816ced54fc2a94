// Standard Markdown to nodes, block by block: only what changed since the last call is drawn anew.

import { changed, h, reconcile } from "./dom.js";
import { inline } from "./inline.js";
import { copyable } from "./copy.js";

const LONGEST = 100_000; // characters; the most that Slack keeps of one message is 40,000
const DEEPEST = 6;

const LONG_LINE = 400; // a line longer than this is prose, so that no pattern below costs its length twice

const FENCE = /^ {0,3}(`{3,}|~{3,})([^`]*)$/;
const HEADING = /^ {0,3}(#{1,6})\s(.*)$/;
const RULE = /^ {0,3}([-*_])\s*(?:\1\s*){2,}$/;
const ITEM = /^( {0,20})([-*+•]|\d{1,9}[.)])(\s+)(.*)$/;
const QUOTE = /^ {0,3}> ?/;
const SPLIT = /^\s*\|?\s*:?-+:?\s*(?:\|\s*:?-+:?\s*)*\|?\s*$/;

const matched = (pattern, line) => (line.length < LONG_LINE ? pattern.exec(line) : null);

/** Draws Markdown `text` into `node`; blocks that stayed the same keep their nodes. */
export function renderMarkdown(node, text, depth = 0) {
  const blocks = read(text.slice(0, LONGEST).split("\n")).map((block, index) => ({ ...block, index }));
  reconcile(node, blocks, {
    key: (block) => `${block.index}:${block.kind}`,
    create: (block) => CREATE[block.kind](block),
    update: (place, block) => changed(place, block) && DRAW[block.kind](place, block, depth),
  });
}

/** The blocks of some lines: `{kind, lines, ...}`. */
export function read(lines) {
  const blocks = [];
  for (let at = 0; at < lines.length; ) {
    if (!lines[at].trim()) {
      at += 1;
      continue;
    }
    const block = fence(lines, at) ?? heading(lines, at) ?? rule(lines, at) ?? quote(lines, at)
      ?? list(lines, at) ?? table(lines, at) ?? paragraph(lines, at);
    at += block.length;
    blocks.push(block);
  }
  return blocks;
}

function fence(lines, at) {
  const open = matched(FENCE, lines[at]);
  if (!open) return null;
  const closing = new RegExp(`^ {0,3}${open[1][0]}{${open[1].length},}\\s*$`);
  let end = at + 1;
  while (end < lines.length && !(lines[end].length < LONG_LINE && closing.test(lines[end]))) end += 1;
  const code = lines.slice(at + 1, end).join("\n");
  return { kind: "fence", language: open[2].trim().split(/\s/)[0].slice(0, 30), code, length: end - at + 1 };
}

function heading(lines, at) {
  const match = HEADING.exec(lines[at]);
  return match && { kind: "heading", level: match[1].length, text: match[2].trim().replace(/\s#+$/, ""), length: 1 };
}

const rule = (lines, at) => (matched(RULE, lines[at]) ? { kind: "rule", length: 1 } : null);

function quote(lines, at) {
  let end = at;
  while (end < lines.length && QUOTE.test(lines[end])) end += 1;
  if (end === at) return null;
  const inner = lines.slice(at, end).map((line) => line.replace(QUOTE, "")).join("\n");
  return { kind: "quote", text: inner, length: end - at };
}

function list(lines, at) {
  const first = ITEM.exec(lines[at]);
  if (!first) return null;
  const ordered = /\d/.test(first[2]);
  const items = [];
  let end = at;
  for (let inside = 0; end < lines.length; end += 1) {
    const match = ITEM.exec(lines[end]);
    const indent = /^ */.exec(lines[end])[0].length;
    if (match && indent < Math.max(first[1].length + 2, inside) && /\d/.test(match[2]) === ordered) {
      if (indent < first[1].length || matched(RULE, lines[end])) break;
      inside = match[1].length + match[2].length + 1;
      items.push([match[4]]);
    } else if (!lines[end].trim()) {
      const next = lines[end + 1] ?? "";
      if (/^ */.exec(next)[0].length < inside && !ITEM.test(next)) break;
      items.at(-1).push("");
    } else if (indent >= inside || !(match || interrupts(lines[end]))) items.at(-1).push(lines[end].replace(new RegExp(`^ {0,${inside}}`), ""));
    else break;
  }
  const start = ordered ? Number.parseInt(first[2], 10) : null;
  return { kind: "list", ordered, start, items: items.map((item) => item.join("\n")), length: end - at };
}

function table(lines, at) {
  if (!lines[at].includes("|") || !matched(SPLIT, lines[at + 1] ?? "") || !lines[at + 1].includes("-")) return null;
  let end = at + 2;
  while (end < lines.length && lines[end].includes("|")) end += 1;
  const aligns = cells(lines[at + 1]).map((cell) => (/:$/.test(cell) ? (/^:/.test(cell) ? "center" : "right") : "left"));
  const rows = [lines[at], ...lines.slice(at + 2, end)].map((line) => cells(line).slice(0, 20));
  if (rows[0].length !== aligns.length) return null;
  return { kind: "table", aligns, rows, length: end - at };
}

const cells = (line) =>
  line.trim().replace(/^\|/, "").replace(/(?<!\\)\|$/, "").split(/(?<!\\)\|/).map((cell) => cell.trim().replaceAll("\\|", "|"));

const interrupts = (line) => matched(FENCE, line) || HEADING.test(line) || matched(RULE, line) || QUOTE.test(line);

function paragraph(lines, at) {
  let end = at + 1;
  while (end < lines.length && lines[end].trim() && !interrupts(lines[end]) && !ITEM.test(lines[end])
    && !table(lines, end)) end += 1;
  return { kind: "paragraph", text: lines.slice(at, end).map((line) => line.trim()).join("\n"), length: end - at };
}

const CREATE = {
  fence: () => copyable(),
  heading: (block) => h(`h${Math.min(block.level + 2, 6)}`, { class: `heading level-${block.level}` }),
  rule: () => h("hr"),
  quote: () => h("blockquote"),
  list: (block) => h(block.ordered ? "ol" : "ul", block.start > 1 ? { start: block.start } : {}),
  table: () => h("div", { class: "table", role: "region", tabindex: "0", "aria-label": "Table" }),
  paragraph: () => h("p"),
};

const DRAW = {
  fence: (node, { code, language }) => node.show(code, language),
  heading: (node, { text }) => node.replaceChildren(...inline(text)),
  rule: () => {},
  quote: (node, { text }, depth) => nested(node, text, depth),
  list: (node, { items }, depth) => reconcile(node, items.map((text, index) => ({ text, index })), {
    key: ({ index }) => String(index),
    create: () => h("li"),
    update: (item, { text }) => changed(item, text) && listItem(item, text, depth),
  }),
  table: (node, { rows, aligns }) => node.replaceChildren(grid(rows.map((row) => row.map(inline)), aligns)),
  paragraph: (node, { text }) => node.replaceChildren(...inline(text)),
};

function nested(node, text, depth) {
  if (depth < DEEPEST) renderMarkdown(node, text, depth + 1);
  else node.replaceChildren(text);
}

function listItem(node, text, depth) {
  const box = /^\[([ xX])\]\s+/.exec(text);
  node.classList.toggle("todo", Boolean(box));
  node.classList.toggle("done", Boolean(box) && box[1] !== " ");
  nested(node, box ? text.slice(box[0].length) : text, depth);
}

/** A table of cells that are lists of nodes; the first row is its head. */
export function grid([head, ...body], aligns = []) {
  const row = (tag) => (line) => h("tr", {}, line.map((cell, at) => h(tag, { class: aligns[at] }, ...cell)));
  return h("table", {}, h("thead", {}, row("th")(head)), h("tbody", {}, body.map(row("td"))));
}
