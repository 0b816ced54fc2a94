// The middle: one channel's messages, each the door to its thread.

import { fetchChannel, say } from "./commands.js";
import { composer } from "./composer.js";
import { byId, h, reconcile } from "./dom.js";
import { coalesced } from "./feed.js";
import { me } from "./me.js";
import { createMessage, updateMessage } from "./message.js";
import { channelTitle, isDirect, mentionBot, visibleChannels } from "./names.js";
import { go, place } from "./place.js";
import { pinned } from "./scroll.js";

const list = byId("channel-messages");
const scroll = pinned(list, byId("channel-new"));
let drawn = null;

const IDEAS = [
  "explain how this repository is put together",
  "find a test that fails and mend it",
  "add a --json flag to the command line, with a test",
];

export const channelComposer = composer(byId("channel-composer"), {
  label: "Message",
  target: () => place().channel,
  placeholder: () => (isDirect(place().channel) ? "Ask Threadmill to..." : `Message ${channelTitle(place().channel)}`),
  mention: () => !isDirect(place().channel),
  async send(text, files, asked) {
    const { channel } = place();
    scroll.follow();
    const sent = await say(channel, asked ? mentionBot(text) : text, null, files);
    if (sent?.ts && (asked || isDirect(channel))) go(channel, sent.ts);
    return sent;
  },
});

/** Fetches and draws the channel that the address names. */
export const refreshChannel = coalesced(async () => {
  const { channel } = place();
  if (!channel) return;
  if (drawn !== channel) open(channel);
  const answer = await fetchChannel(channel);
  if (place().channel !== channel) return;
  if (answer?.gone) go(visibleChannels(me())[0]?.id);
  else if (answer) draw(channel, answer.messages);
  else list.ariaBusy = "false";
});

function open(channel) {
  byId("channel-name").textContent = channelTitle(channel);
  byId("empty").hidden = true;
  list.replaceChildren();
  list.ariaBusy = "true";
}

function draw(channel, all) {
  const messages = all.filter((message) => !message.is_ephemeral || message.user_id === me());
  scroll.before();
  list.ariaBusy = "false";
  reconcile(list, messages, {
    key: (message) => message.ts,
    create: createMessage,
    update: (node, message) => updateMessage(node, message, { channel, open: (ts) => go(channel, ts) }),
  });
  drawEmpty(channel, messages.length === 0);
  markOpen();
  scroll.after(drawn !== channel);
  drawn = channel;
}

/** Marks the message whose thread is open. */
export function markOpen() {
  for (const node of list.children) node.classList.toggle("open", node.dataset.key === place().thread);
}

function drawEmpty(channel, empty) {
  byId("empty").hidden = !empty;
  if (!empty || byId("ideas").hasChildNodes()) return;
  byId("ideas").append(...IDEAS.map((idea) => h("li", {}, h("button", {
    type: "button", class: "idea", on: { click: () => channelComposer.fill(`${idea[0].toUpperCase()}${idea.slice(1)}`) },
  }, `Ask @threadmill to ${idea}`))));
}
