// The keyboard: `?` shows all of it.

import { showKeys } from "./dialogs.js";
import { byId } from "./dom.js";
import { go, place } from "./place.js";
import { canStop, stopNow } from "./session.js";
import { channelComposer } from "./channels.js";
import { threadComposer } from "./threads.js";

const TWICE = 700; // ms between two keys that belong together

const ROWS = [
  ["j k", "next, previous message"], ["Enter", "open the thread of a message"], ["c", "write"],
  ["Esc Esc", "stop the agent"], ["Esc", "leave the text, then close the thread"],
  ["g c", "to the channels"], ["g m", "to the channel's messages"], ["g t", "to the thread"], ["?", "these keys"],
];

let last = { key: "", at: 0 };

/** Listens for keys on the whole page. */
export function listenForKeys() {
  byId("skip").addEventListener("click", () => byId("channel-messages").focus());
  byId("help").addEventListener("click", () => showKeys(ROWS));
  addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing || document.querySelector("dialog[open]")) return;
    const chord = event.timeStamp - last.at < TWICE ? `${last.key} ${event.key}` : "";
    last = { key: event.key, at: event.timeStamp };
    const typing = event.target.matches("textarea, input:not([type=radio]), select");
    const act = event.key === "Escape" ? escape(chord, typing, event.target) : typing ? null : (ACTS[chord] ?? ACTS[event.key]);
    if (act && act(event) !== false) event.preventDefault();
  });
}

function escape(chord, typing, target) {
  if (canStop()) return chord === "Escape Escape" ? stopNow : () => target.blur?.();
  if (typing) return () => target.blur();
  return place().thread ? () => go(place().channel) : null;
}

const panel = () => (document.activeElement?.closest("#thread") || (place().thread && !document.activeElement?.closest("#channel"))
  ? byId("thread-messages") : byId("channel-messages"));

function step(by) {
  const messages = [...panel().children];
  const at = messages.indexOf(document.activeElement?.closest(".message"));
  const next = at < 0 ? messages.at(-1) : messages[Math.min(Math.max(at + by, 0), messages.length - 1)];
  next?.focus();
}

const ACTS = {
  "?": () => showKeys(ROWS),
  j: () => step(1),
  k: () => step(-1),
  ArrowDown: () => Boolean(document.activeElement?.matches(".message")) && step(1),
  ArrowUp: () => Boolean(document.activeElement?.matches(".message")) && step(-1),
  c: () => (panel().id === "thread-messages" ? threadComposer : channelComposer).focus(),
  Enter: () => {
    const message = document.activeElement;
    if (!message?.matches("#channel-messages > .message")) return false;
    return go(place().channel, message.dataset.key);
  },
  "g c": () => document.querySelector("#places a[aria-current], #places a")?.focus(),
  "g m": () => byId("channel-messages").lastElementChild?.focus(),
  "g t": () => byId("thread-messages").lastElementChild?.focus(),
};
