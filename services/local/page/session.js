// The head of a thread: what its session is doing, what it cost, where its work is, and Stop.

import { announce } from "./announce.js";
import { stop } from "./commands.js";
import { copyButton } from "./copy.js";
import { byId, changed, h, icon } from "./dom.js";
import { ICONS } from "./icons.js";
import { isBot } from "./names.js";
import { stopwatch } from "./time.js";

const STATES = {
  processing: ["working", "Working"], suspended: ["waiting", "Waiting for you"], active: ["idle", "Idle"], closed: ["closed", "Closed"],
};
const STOP_PATIENCE = 10_000; // ms until Stop can be pressed again

let shown = null; // {channel, ts, state, since}

/** What a thread's session is doing: `working`, `waiting`, `idle`, `closed`, or null where there is none. */
export function sessionState(thread) {
  if (STATES[thread.session_status]) return STATES[thread.session_status][0];
  const busy = thread.status || thread.messages.some((message) => message.streaming_state === "in_progress");
  return busy ? "working" : STATES[thread.session?.status]?.[0] ?? null;
}

/** Draws the head for a thread as `/sim/thread` gives it. */
export function renderSession(channel, ts, thread) {
  const state = sessionState(thread);
  const same = shown?.channel === channel && shown?.ts === ts;
  const before = same ? shown.state : null;
  shown = { channel, ts, state, since: before === "working" && state === "working" ? shown.since : lastWord(thread) };
  if (before && before !== state) settle(state);
  byId("session").hidden = state === null;
  byId("stop").hidden = state !== "working" && state !== "waiting";
  drawChip(state);
  if (changed(byId("facts"), [channel, ts, thread.session])) byId("facts").replaceChildren(...facts(thread.session ?? {}));
  tick();
}

/** Interrupts the session in view; called by the button and by Escape twice. */
export async function stopNow() {
  const button = byId("stop");
  if (button.hidden || button.ariaBusy === "true") return;
  button.setAttribute("aria-busy", "true");
  byId("stop-label").textContent = "Stopping";
  announce("Stopping.");
  if (await stop(shown.channel, shown.ts)) setTimeout(calm, STOP_PATIENCE);
  else calm();
}

export const canStop = () => !byId("session").hidden && !byId("stop").hidden;

function settle(state) {
  calm();
  const label = Object.values(STATES).find(([name]) => name === state)?.[1];
  if (label) announce(`Threadmill: ${label}.`);
}

function calm() {
  byId("stop").removeAttribute("aria-busy");
  byId("stop-label").textContent = "Stop";
}

function drawChip(state) {
  const chip = byId("state");
  if (!changed(chip, state)) return;
  chip.dataset.state = state ?? "";
  chip.textContent = Object.values(STATES).find(([name]) => name === state)?.[1] ?? "";
}

function facts(session) {
  const { branch, repo, cost_usd: cost, agent, turns } = session;
  const known = [
    branch && ["Branch", h("span", { class: "copied" }, icon(ICONS.branch), h("code", {}, branch), copyButton("Copy branch name", () => branch))],
    repo && repo !== "own" && ["Repository", shortened(repo)],
    agent && ["Agent", agent],
    Number.isFinite(cost) && turns > 0 && ["Cost", `$${cost.toFixed(2)}`],
    Number.isFinite(turns) && turns > 0 && ["Turns", String(turns)],
  ];
  return known.filter(Boolean).map(([name, value]) => h("div", { title: name }, h("dt", { class: "hidden" }, name), h("dd", { dataset: { fact: name.toLowerCase() } }, value,
    name === "Turns" ? (turns === 1 ? " turn" : " turns") : "")));
}

const shortened = (repo) => String(repo).replace(/^https?:\/\/[^/]+\//, "").replace(/\.git$/, "").split("/").slice(-2).join("/");

function lastWord(thread) {
  const human = thread.messages.findLast((message) => !isBot(message));
  return human ? Number.parseFloat(human.ts) : Date.now() / 1000;
}

function tick() {
  const elapsed = byId("elapsed");
  elapsed.hidden = shown?.state !== "working";
  if (!elapsed.hidden) elapsed.textContent = stopwatch(Date.now() / 1000 - shown.since);
}

byId("stop").addEventListener("click", stopNow);
setInterval(tick, 1000);
