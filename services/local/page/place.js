// Where the person is, kept in the address: `#/C1/1712345678.123456`. Back and reload work by themselves.

/** `{channel, thread}`, each an id or null. */
export function place() {
  const [, channel, thread] = location.hash.split("/");
  return { channel: channel || null, thread: thread || null };
}

/** Goes to a channel, or to a thread in it; nothing given is the list of channels. */
export function go(channel, thread) {
  const hash = `#${[channel, thread].filter(Boolean).map((part) => `/${part}`).join("")}`;
  if (hash !== (location.hash || "#")) location.hash = hash;
}

export const onMove = (listener) => addEventListener("hashchange", listener);
