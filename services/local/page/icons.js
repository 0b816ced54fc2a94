// The drawings of the page, each one path in a 16 by 16 box.

export const ICONS = {
  back: "M10 3 5 8l5 5",
  close: "m4 4 8 8m0-8-8 8",
  send: "M8 13V3M3.5 7.5 8 3l4.5 4.5",
  attach: "m13 7.5-5.2 5.2a3 3 0 0 1-4.3-4.3l5.7-5.7a2 2 0 0 1 2.9 2.9L6.6 11a1 1 0 0 1-1.4-1.4l4.9-4.9",
  file: "M9 2H4.5v12h7V4.5zM9 2v2.5h2.5",
  smile: "M8 2a6 6 0 1 0 0 12A6 6 0 0 0 8 2M5.5 9.5a3 3 0 0 0 5 0M6 6.2v.1m4-.1v.1",
  edit: "M3 13h2l7.5-7.5-2-2L3 11zM9.5 4.5l2 2",
  trash: "M3 4.5h10M6.5 4.5V3h3v1.5M4.5 4.5l.6 8.5h5.8l.6-8.5",
  reply: "M13 12c0-3-2-4.5-5-4.5H3.5M7 4 3.5 7.5 7 11",
  down: "M8 3v10M3.5 8.5 8 13l4.5-4.5",
  chevron: "m6 4 4 4-4 4",
  copy: "M5.5 5.5h7v7h-7zM3.5 10.5v-7h7",
  branch: "M5 5.5v5M5 5.5A1.2 1.2 0 1 0 5 3a1.2 1.2 0 0 0 0 2.5M5 13a1.2 1.2 0 1 0 0-2.5A1.2 1.2 0 0 0 5 13M11 6.5A1.2 1.2 0 1 0 11 4a1.2 1.2 0 0 0 0 2.5M11 6.5c0 2.5-6 1-6 4",
  pending: "M8 3a5 5 0 1 0 0 10A5 5 0 0 0 8 3",
  in_progress: "M8 3a5 5 0 1 1-5 5",
  stopped: "M8 2.5a5.5 5.5 0 1 0 0 11 5.5 5.5 0 0 0 0-11M6 6h4v4H6z",
  complete: "M8 2.5a5.5 5.5 0 1 0 0 11 5.5 5.5 0 0 0 0-11M5.4 8.2l1.8 1.8 3.4-3.8",
  error: "M8 2.5a5.5 5.5 0 1 0 0 11 5.5 5.5 0 0 0 0-11M6 6l4 4m0-4-4 4",
  sun: "M8 5a3 3 0 1 0 0 6 3 3 0 0 0 0-6M8 1.5v1M8 13.5v1M1.5 8h1M13.5 8h1M3.4 3.4l.7.7M11.9 11.9l.7.7M3.4 12.6l.7-.7M11.9 4.1l.7-.7",
  moon: "M13 9.5A5.5 5.5 0 0 1 6.5 3 5.5 5.5 0 1 0 13 9.5",
  auto: "M8 2.5a5.5 5.5 0 1 0 0 11zM8 2.5a5.5 5.5 0 0 1 0 11",
  mill: "M4 3h8M4 13h8M5.5 3v10m5-10v10M5.5 6l5-1.2M5.5 8.6l5-1.2m-5 3.8 5-1.2",
};

const EMOJI = {
  eyes: "👀", gear: "⚙️", white_check_mark: "✅", x: "❌", hourglass: "⏳", hourglass_flowing_sand: "⏳",
  octagonal_sign: "🛑", warning: "⚠️", no_entry: "⛔", rocket: "🚀", tada: "🎉", bulb: "💡", lock: "🔒",
  "+1": "👍", thumbsup: "👍", "-1": "👎", heart: "❤️", raised_hands: "🙌", question: "❓", memo: "📝",
  information_source: "ℹ️", ballot_box_with_check: "☑️", heavy_minus_sign: "➖", clipboard: "📋",
  robot_face: "🤖", hammer_and_wrench: "🛠️", mag: "🔍", link: "🔗", zap: "⚡", wave: "👋", stopwatch: "⏱️",
  arrows_counterclockwise: "🔄", package: "📦", bug: "🐛", fire: "🔥", sparkles: "✨", thinking_face: "🤔",
  large_green_circle: "🟢", large_yellow_circle: "🟡", red_circle: "🔴", white_circle: "⚪", pray: "🙏",
};

/** Reactions that the picker offers; the last one stops the agent. */
export const PICKER = ["+1", "eyes", "heart", "tada", "question", "octagonal_sign"];

/** The glyph of a Slack emoji name, or `:name:` where the page knows none. */
export const glyph = (name) => EMOJI[name.split("::")[0]] ?? `:${name}:`;

/** Text with the known `:names:` drawn as glyphs. */
export const withGlyphs = (text) => text.replace(/:([a-z0-9_+-]{1,40}):/g, (all, name) => EMOJI[name] ?? all);
