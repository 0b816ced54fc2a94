// The left: channels, direct messages, who one is, the theme.

import { byId, h, icon, reconcile } from "./dom.js";
import { ICONS } from "./icons.js";
import { become, me } from "./me.js";
import { avatar, channelTitle, visibleChannels } from "./names.js";
import { place } from "./place.js";
import { nextTheme, theme } from "./theme.js";

const fresh = new Set(); // channels with something new since they were last in view

/** Draws the list of channels and marks the one in view. */
export function drawSidebar() {
  const here = place().channel;
  fresh.delete(here);
  for (const [id, direct] of [["channels", false], ["directs", true]]) {
    const channels = visibleChannels(me()).filter((channel) => Boolean(channel.is_im) === direct);
    byId(id).parentElement.hidden = channels.length === 0;
    reconcile(byId(id), channels, { key: (channel) => channel.id, create: createRow, update: (row, channel) => updateRow(row, channel, here) });
  }
}

const createRow = (channel) => h("li", {}, h("a", { href: `#/${channel.id}` }, channelTitle(channel.id)));

function updateRow(row, channel, here) {
  const anchor = row.firstElementChild;
  anchor.toggleAttribute("aria-current", channel.id === here);
  if (channel.id === here) anchor.setAttribute("aria-current", "page");
  anchor.classList.toggle("fresh", fresh.has(channel.id));
}

/** Remembers that a channel changed while another was in view. */
export function markFresh(channel) {
  if (channel === place().channel || fresh.has(channel)) return;
  fresh.add(channel);
  drawSidebar();
}

/** Draws who one can be, and the theme's button. */
export function drawPeople(users) {
  byId("people").replaceChildren(...users.map((user) => h("label", { class: "person" },
    h("input", { type: "radio", name: "me", value: user.id, ...(user.id === me() ? { checked: true } : {}), on: { change: () => become(user.id) } }),
    avatar(user.id, false), h("span", {}, user.real_name || user.name))));
  drawTheme(theme());
  byId("theme").addEventListener("click", () => drawTheme(nextTheme()));
}

function drawTheme(now) {
  const label = { auto: "Theme: as the system", light: "Theme: light", dark: "Theme: dark" }[now];
  byId("theme").replaceChildren(icon(ICONS[{ auto: "auto", light: "sun", dark: "moon" }[now]]));
  byId("theme").title = label;
  byId("theme").setAttribute("aria-label", label);
}
