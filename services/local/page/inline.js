// Reads marks inside a line into nodes: the engine that both dialects share, and standard Markdown's own marks.

import { h } from "./dom.js";
import { withGlyphs } from "./icons.js";
import { mentionOf } from "./names.js";

const DEEPEST = 8;
const FAR = 2000; // how far a closing bracket is looked for, so that hostile text costs no more than its length

/**
 * Turns `text` into nodes by `rules`: a character to `(text, at, nest, barren) => [node, end] | null`.
 * `barren` remembers up to where a mark closes nothing, so that no stretch is searched twice.
 */
export function scan(text, rules, depth = 0) {
  if (depth > DEEPEST) return [text];
  const nodes = [];
  const nest = (inner) => scan(inner, rules, depth + 1);
  const barren = new Map();
  let plain = 0;
  for (let at = 0; at < text.length; ) {
    const found = rules[text[at]]?.(text, at, nest, barren) ?? null;
    if (!found) at += 1;
    else {
      if (at > plain) nodes.push(withGlyphs(text.slice(plain, at)));
      nodes.push(found[0]);
      at = plain = found[1];
    }
  }
  if (plain < text.length) nodes.push(withGlyphs(text.slice(plain)));
  return nodes;
}

/** A link where the address is http, https or mailto, else its label as text. */
export function link(address, label) {
  let url = null;
  try {
    url = new URL(address);
  } catch {
    return h("span", {}, ...label);
  }
  if (!["http:", "https:", "mailto:"].includes(url.protocol)) return h("span", {}, ...label);
  return h("a", { href: url.href, target: "_blank", rel: "noopener noreferrer" }, ...label);
}

/** A person's or the bot's name where `<@U1>` stands. */
export const mention = (id) => h("span", { class: "mention" }, mentionOf(id));

const wordly = (character) => character !== undefined && /[\p{L}\p{N}_]/u.test(character);
const spacy = (character) => character === undefined || /\s/.test(character);

/** What stands between a mark at `at` and its twin, e.g. `*bold*`; null where it does not close nearby. */
export function between(text, at, mark, barren, { wholeWords = false } = {}) {
  const start = at + mark.length;
  if (spacy(text[start]) || (wholeWords && wordly(text[at - 1]))) return null;
  let end = text.indexOf(mark, Math.max(start + 1, barren.get(mark) ?? 0));
  for (; end >= 0 && end - start < FAR; end = text.indexOf(mark, end + 1)) {
    const closes = !spacy(text[end - 1]) && !(wholeWords && wordly(text[end + mark.length]));
    const single = mark.length > 1 || (text[end + 1] !== mark && text[end - 1] !== mark);
    if (closes && single) return [text.slice(start, end), end + mark.length];
  }
  barren.set(mark, end < 0 ? text.length : end);
  return null;
}

/** A code span, opened and closed by the same number of backticks. */
export function codeSpan(text, at) {
  const ticks = /^`+/.exec(text.slice(at, at + 20))[0];
  const near = text.slice(at + ticks.length, at + FAR);
  const end = near.indexOf(ticks);
  if (end < 1 || near[end + ticks.length] === "`") return null;
  return [h("code", {}, near.slice(0, end).replace(/^ (.+) $/, "$1")), at + end + 2 * ticks.length];
}

/** A bare http(s) address at the start of a word, without the punctuation that ends a sentence. */
export function bareAddress(text, at) {
  if (wordly(text[at - 1])) return null;
  const match = /^https?:\/\/[^\s<>"'`|]+/.exec(text.slice(at, at + FAR));
  if (!match) return null;
  const address = match[0].replace(/[.,;:!?)\]}*_]+$/, "");
  return address.length > 8 ? [link(address, [address]), at + address.length] : null;
}

/** `<@U1>` and `<https://...>`. */
export function angle(text, at) {
  const match = /^<(?:@([A-Z0-9]{1,24})(?:\|[^<>\n]{0,80})?|(https?:\/\/[^\s<>|]+|mailto:[^\s<>|]+))>/.exec(
    text.slice(at, at + FAR),
  );
  if (!match) return null;
  return [match[1] ? mention(match[1]) : link(match[2], [match[2]]), at + match[0].length];
}

function emphasis(text, at, nest, barren) {
  const options = { wholeWords: text[at] === "_" };
  const strong = text[at + 1] === text[at] ? between(text, at, text[at] + text[at], barren, options) : null;
  if (strong) return [h("strong", {}, ...nest(strong[0])), strong[1]];
  const soft = text[at + 1] === text[at] ? null : between(text, at, text[at], barren, options);
  return soft && [h("em", {}, ...nest(soft[0])), soft[1]];
}

function struck(text, at, nest, barren) {
  const inner = text[at + 1] === "~" ? between(text, at, "~~", barren) : null;
  return inner && [h("s", {}, ...nest(inner[0])), inner[1]];
}

function named(text, at, nest) {
  const match = /^\[((?:[^[\]\\]|\\.|\[[^[\]]{0,200}\]){0,600})\]\(\s*<?([^\s()<>]*(?:\([^\s()]*\)[^\s()<>]*)?)>?(?:\s+"[^"]*")?\s*\)/.exec(
    text.slice(at, at + FAR),
  );
  return match && [link(match[2], nest(match[1])), at + match[0].length];
}

// An image lives on another host, and this page asks nobody else for anything: it becomes a link.
function picture(text, at, nest) {
  return text[at + 1] === "[" ? named(text, at + 1, nest) : null;
}

function escaped(text, at) {
  if (text[at + 1] === "\n") return [h("br"), at + 2];
  return /[!-/:-@[-`{-~]/.test(text[at + 1] ?? "") ? [text[at + 1], at + 2] : null;
}

const MARKDOWN = {
  "\\": escaped, "`": codeSpan, "*": emphasis, _: emphasis, "~": struck, "[": named, "!": picture, "<": angle,
  h: bareAddress, "\n": (text, at) => [h("br"), at + 1],
};

/** Nodes of one paragraph of standard Markdown. */
export const inline = (text) => scan(text, MARKDOWN);
