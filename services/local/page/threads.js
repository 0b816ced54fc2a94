// The thread panel: its messages, its status line, its composer.

import { fetchThread, say } from "./commands.js";
import { composer } from "./composer.js";
import { byId, reconcile } from "./dom.js";
import { coalesced } from "./feed.js";
import { me } from "./me.js";
import { createMessage, updateMessage } from "./message.js";
import { channelTitle } from "./names.js";
import { go, place } from "./place.js";
import { pinned } from "./scroll.js";
import { renderSession, sessionState } from "./session.js";

const SUMMED_UP = 1500; // ms after a turn's end until its cost and branch are written down

const list = byId("thread-messages");
const scroll = pinned(list, byId("thread-new"));
let drawn = null; // "channel/ts" of what the list shows

export const threadComposer = composer(byId("thread-composer"), {
  label: "Reply in this thread",
  target: () => place().thread && `${place().channel}/${place().thread}`,
  placeholder: () => "Reply, steer, or say stop",
  send(text, files) {
    scroll.follow();
    return say(place().channel, text, place().thread, files);
  },
});

/** Fetches and draws the thread that the address names, or shows that none is open. */
export const refreshThread = coalesced(async () => {
  const { channel, thread: ts } = place();
  if (!ts) {
    drawn = null;
    title(null);
    return;
  }
  if (drawn !== `${channel}/${ts}`) open(channel);
  const thread = await fetchThread(channel, ts);
  const now = place();
  if (now.channel !== channel || now.thread !== ts) return;
  if (thread?.gone) go(channel);
  else if (thread) draw(channel, ts, thread);
  else list.ariaBusy = "false";
});

function open(channel) {
  byId("thread-where").textContent = channelTitle(channel);
  byId("session").hidden = true;
  byId("status").textContent = "";
  list.replaceChildren();
  list.ariaBusy = "true"; // the style draws a skeleton
}

function draw(channel, ts, thread) {
  const messages = thread.messages.filter((message) => !message.is_ephemeral || message.user_id === me());
  scroll.before();
  list.ariaBusy = "false";
  reconcile(list, messages, {
    key: (message) => message.ts,
    create: createMessage,
    update: (node, message) => updateMessage(node, message, { channel }),
  });
  byId("thread-title").textContent = thread.session_title || thread.session?.title || "Thread";
  drawStatus(thread);
  renderSession(channel, ts, thread);
  title(sessionState(thread));
  if (list.dataset.state === "working" && sessionState(thread) !== "working") setTimeout(refreshThread, SUMMED_UP);
  list.dataset.state = sessionState(thread) ?? "";
  scroll.after(drawn !== `${channel}/${ts}`);
  drawn = `${channel}/${ts}`;
}

function drawStatus({ status }) {
  const text = (typeof status === "string" ? status : status?.status) ?? "";
  byId("status").textContent = text && `Threadmill ${text.replace(/\.{3}$/, "")}`;
}

function title(state) {
  const prefix = { working: "Working", waiting: "Waiting for you" }[state];
  document.title = prefix ? `${prefix} · Threadmill` : "Threadmill";
}
