// Who the person is in this workspace, remembered by the browser.

const KEPT = "threadmill.me";
const listeners = [];
let current = null;

export const me = () => current;

/** Takes the remembered person, or the first of `users`. */
export function recall(users) {
  const kept = localStorage.getItem(KEPT);
  current = users.find((user) => user.id === kept)?.id ?? users[0]?.id ?? null;
}

export function become(id) {
  current = id;
  localStorage.setItem(KEPT, id);
  for (const listener of listeners) listener(id);
}

export const onBecome = (listener) => listeners.push(listener);
