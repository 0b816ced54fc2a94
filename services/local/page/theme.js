// Light, dark, or as the system says; loaded before the first paint.

const KEPT = "threadmill.theme";
const ORDER = ["auto", "light", "dark"];

export const theme = () => document.documentElement.dataset.theme;

/** Goes to the next of auto, light, dark and remembers it. */
export function nextTheme() {
  const next = ORDER[(ORDER.indexOf(theme()) + 1) % ORDER.length];
  document.documentElement.dataset.theme = next;
  localStorage.setItem(KEPT, next);
  return next;
}

const kept = localStorage.getItem(KEPT);
document.documentElement.dataset.theme = ORDER.includes(kept) ? kept : "auto";
