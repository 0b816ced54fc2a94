// Times as people say them.

const CLOCK = new Intl.DateTimeFormat(undefined, { hour: "numeric", minute: "2-digit" });
const DAY = new Intl.DateTimeFormat(undefined, { month: "short", day: "numeric" });
const FULL = new Intl.DateTimeFormat(undefined, { dateStyle: "full", timeStyle: "medium" });

const date = (ts) => new Date(Number.parseFloat(ts) * 1000);

/** `10:42`, or `Nov 3, 10:42` where it was not today. */
export function clock(ts) {
  const when = date(ts);
  const today = when.toDateString() === new Date().toDateString();
  return today ? CLOCK.format(when) : `${DAY.format(when)}, ${CLOCK.format(when)}`;
}

/** `today at 10:42`, or `Nov 3 at 10:42`. */
export function moment(ts) {
  const when = date(ts);
  const today = when.toDateString() === new Date().toDateString();
  return `${today ? "today" : DAY.format(when)} at ${CLOCK.format(when)}`;
}

export const fullTime = (ts) => FULL.format(date(ts));
export const iso = (ts) => date(ts).toISOString();

/** `just now`, `4 min ago`, then the clock. */
export function ago(ts) {
  const minutes = Math.floor((Date.now() - date(ts)) / 60_000);
  if (minutes < 1) return "just now";
  return minutes < 60 ? `${minutes} min ago` : clock(ts);
}

/** `0:07`, `12:30`, `1:02:03` for a number of seconds. */
export function stopwatch(seconds) {
  const whole = Math.max(0, Math.floor(seconds));
  const two = (number) => String(number).padStart(2, "0");
  const [hours, minutes] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60];
  return hours ? `${hours}:${two(minutes)}:${two(whole % 60)}` : `${minutes}:${two(whole % 60)}`;
}
