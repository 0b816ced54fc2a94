// Puts the page together: the workspace once, then what the address names, then every change.

import { channelComposer, markOpen, refreshChannel } from "./channels.js";
import { fetchWorkspace } from "./commands.js";
import { byId } from "./dom.js";
import { follow } from "./feed.js";
import { inline } from "./inline.js";
import { listenForKeys } from "./keys.js";
import { me, onBecome, recall } from "./me.js";
import { learn, visibleChannels } from "./names.js";
import { go, onMove, place } from "./place.js";
import { drawPeople, drawSidebar, markFresh } from "./sidebar.js";
import { refreshThread, threadComposer } from "./threads.js";

const GRACE = 1000; // ms without a connection before it is told
const narrow = matchMedia("(max-width: 800px)");
let started = false;
let losing = null;

function online(up) {
  clearTimeout(losing);
  if (up) byId("offline").hidden = true;
  else losing = setTimeout(() => { byId("offline").hidden = false; }, GRACE);
}

async function everything() {
  const workspace = await fetchWorkspace();
  if (!workspace) return;
  learn(workspace);
  if (!started) start(workspace);
  drawSidebar();
  refreshChannel();
  refreshThread();
}

function start(workspace) {
  started = true;
  recall(workspace.users);
  drawPeople(workspace.users);
  drawAgent(workspace.agent ?? {});
  onMove(move);
  onBecome(() => (visibleChannels(me()).some((channel) => channel.id === place().channel) ? everything() : go(visibleChannels(me())[0]?.id)));
  listenForKeys();
  if (!place().channel && !narrow.matches) go(visibleChannels(me())[0]?.id);
  move();
}

function drawAgent({ name = "", real = true, hint = "" }) {
  byId("agent").textContent = name ? `Agent: ${name}` : "";
  byId("rehearsal").hidden = real;
  byId("hint").replaceChildren(...inline(hint));
  byId("rehearsal-close").addEventListener("click", () => { byId("rehearsal").hidden = true; });
}

function move() {
  const { channel, thread } = place();
  document.body.dataset.screen = thread ? "thread" : channel ? "channel" : "places";
  document.body.classList.toggle("with-thread", Boolean(thread));
  byId("thread-back").href = `#/${channel ?? ""}`;
  byId("thread-close").href = `#/${channel ?? ""}`;
  drawSidebar();
  markOpen();
  refreshChannel();
  refreshThread();
  channelComposer.refresh();
  threadComposer.refresh();
  if (!narrow.matches && channel) (thread ? threadComposer : channelComposer).focus();
}

follow({
  all: everything,
  online,
  changed({ channel, ts }) {
    const here = place();
    if (channel !== here.channel) markFresh(channel);
    else refreshChannel();
    if (channel === here.channel && (!ts || ts === here.thread)) refreshThread();
  },
});
