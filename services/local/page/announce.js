// What a screen reader hears: whole sentences, at most one each second, never a stream letter by letter.

const EVERY = 1000; // ms
const waiting = [];
let timer = null;

/** Says `sentence` politely after what is already waiting. */
export function announce(sentence) {
  if (waiting.at(-1) === sentence) return;
  waiting.push(sentence.slice(0, 300));
  timer ??= setTimeout(say, 50);
}

function say() {
  document.getElementById("spoken").textContent = waiting.splice(0, 3).join(" ");
  timer = waiting.length ? setTimeout(say, EVERY) : null;
}
