// Who is who in the workspace: ids to names, and names back to ids in what a person writes.

import { h, icon } from "./dom.js";
import { ICONS } from "./icons.js";

const people = new Map();
const channels = new Map();

/** Learns the workspace as `GET /sim/workspace` gives it. */
export function learn(workspace) {
  for (const user of workspace.users) people.set(user.id, user);
  people.set(workspace.bot.id, { ...workspace.bot, real_name: "Threadmill", bot: true });
  for (const channel of workspace.channels) channels.set(channel.id, channel);
}

/** What a person reads for an id; the id itself where it is unknown. */
export const nameOf = (id) => people.get(id)?.real_name || people.get(id)?.name || id || "Somebody";

/** `@threadmill` for the bot, as it is typed; a person's whole name for a person. */
export const mentionOf = (id) => `@${people.get(id)?.bot ? people.get(id).name : nameOf(id)}`;

export const channelNameOf = (id) => channels.get(id)?.name ?? id;

/** `{id, handle, name, bot}` of everybody who can be mentioned, the bot first. */
export function mentionable() {
  const all = [...people.values()].map((one) => ({
    id: one.id, handle: one.name.toLowerCase(), name: nameOf(one.id), bot: Boolean(one.bot),
  }));
  return all.sort((a, b) => Number(b.bot) - Number(a.bot));
}

/** Slack's text for what was typed: `@handle` becomes `<@ID>`, and `& < >` are escaped. */
export function toSlack(typed) {
  const ids = new Map(mentionable().map((one) => [one.handle, one.id]));
  const text = typed.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
  return text.replace(/(^|[^\w@])@([\w.-]*\w)/g, (all, before, handle) => {
    const id = ids.get(handle.toLowerCase());
    return id ? `${before}<@${id}>` : all;
  });
}

/** What a person would have typed for Slack's `text`. */
export function fromSlack(text) {
  const handles = new Map(mentionable().map((one) => [one.id, one.handle]));
  return text
    .replace(/<@([A-Z0-9]+)(?:\|[^>]*)?>/g, (all, id) => (handles.has(id) ? `@${handles.get(id)}` : all))
    .replace(/<((?:https?|mailto):[^>|]+)(?:\|[^>]*)?>/g, "$1")
    .replaceAll("&lt;", "<").replaceAll("&gt;", ">").replaceAll("&amp;", "&");
}

/** Whether a message is the bot's. */
export const isBot = (message) => Boolean(message.bot_id || people.get(message.user)?.bot);

/** What stands beside a message: the mark of the bot, or a person's initial in a tint of their own. */
export function avatar(id, bot) {
  if (bot) return icon(ICONS.mill, "mark");
  const tint = [...String(id)].reduce((sum, letter) => sum + letter.charCodeAt(0), 0) % 5;
  return h("span", { class: `initial tint-${tint}` }, nameOf(id).slice(0, 1).toUpperCase());
}

export const isDirect = (channel) => Boolean(channels.get(channel)?.is_im);

/** `#general`, or the bot's name for its direct messages. */
export const channelTitle = (id) => (isDirect(id) ? "Threadmill" : `#${channelNameOf(id)}`);

/** The channels that a person sees: all but the direct messages of others. */
export const visibleChannels = (person) => [...channels.values()].filter((one) => !one.is_im || !one.user || one.user === person);

/** Slack text that mentions the bot, at its front where it does not already. */
export function mentionBot(text) {
  const bot = mentionable().find((one) => one.bot);
  return !bot || text.includes(`<@${bot.id}>`) ? text : `<@${bot.id}> ${text}`;
}
