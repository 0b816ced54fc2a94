// The simulator's HTTP door: JSON in, JSON out, every failure one sentence.

/** `GET path?params`; throws an Error with a message for people, and `status` where the server answered. */
export const get = (path, params = {}) => call(`${path}?${new URLSearchParams(params)}`, {});

/** `POST path` with a JSON body; throws like `get`. */
export const post = (path, body) =>
  call(path, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) });

async function call(path, options) {
  let response;
  try {
    response = await fetch(path, options);
  } catch (error) {
    throw new Error("Threadmill does not answer; is it still running in your terminal?", { cause: error });
  }
  const text = await response.text();
  const answer = parsed(text);
  if (response.ok && answer?.ok !== false) return answer ?? {};
  throw Object.assign(new Error(sentence(response.status, answer?.message ?? answer?.error ?? (answer ? "" : text))), { status: response.status });
}

function parsed(text) {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

const KNOWN = {
  not_in_channel: "You are not in that channel.",
  thread_not_found: "That thread is gone.",
  message_not_found: "That message is gone.",
  channel_not_found: "There is no such channel.",
  action_not_found: "That button is gone; the question was answered.",
  already_reacted: "You have reacted with that already.",
};

function sentence(status, reason) {
  if (status === 413) return "That is too large to send here.";
  if (KNOWN[reason]) return KNOWN[reason];
  return reason ? `That did not work: ${String(reason).slice(0, 200)}` : `That did not work (HTTP ${status}).`;
}
