// What a person does, as calls to the simulator; each answers whether it was taken and tells a failure as a toast.

import { get, post } from "./api.js";
import { me } from "./me.js";
import { toast } from "./toasts.js";

async function told(promise) {
  try {
    return (await promise) ?? {};
  } catch (error) {
    toast(error.message);
    return null;
  }
}

const mine = (body) => ({ user: me(), ...body });

/** Writes a message; `{ts}` of it, or null. `files` are `{name, media_type, content}` in base64. */
export const say = (channel, text, thread, files) => told(post("/sim/message", mine({
  channel, text, ...(thread ? { thread_ts: thread } : {}), ...(files.length ? { files } : {}),
})));

export const press = (channel, ts, action) => told(post("/sim/action", mine({ channel, message_ts: ts, ...action })));

export const react = (channel, ts, name, remove) =>
  told(post("/sim/reaction", mine({ channel, ts, name, ...(remove ? { remove } : {}) })));

export const edit = (channel, ts, text) => told(post("/sim/edit", mine({ channel, ts, text })));

export const remove = (channel, ts) => told(post("/sim/delete", mine({ channel, ts })));

export const stop = (channel, thread) => told(post("/sim/stop", mine({ channel, thread_ts: thread })));

export const fetchViews = () => told(get("/sim/views", { user: me() }));

/** Sends a modal off; `{closed, errors?}`, or null. */
export const submitView = (view, values) => told(post("/sim/view", mine({ view_id: view, values })));

export const fetchWorkspace = () => told(get("/sim/workspace"));

/** `{messages}`, `{gone: true}` where there is no such place, or null. */
export const fetchChannel = (channel) => told(get("/sim/channel", { channel }).catch(gone));
export const fetchThread = (channel, ts) => told(get("/sim/thread", { channel, ts }).catch(gone));

function gone(error) {
  if (error.status !== 404) throw error;
  toast(error.message);
  return { gone: true };
}
