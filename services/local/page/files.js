// Files of a message, and files that a person is about to send.

import { h, icon } from "./dom.js";
import { ICONS } from "./icons.js";
import { toast } from "./toasts.js";

const MOST = 10;
const LARGEST = 20 * 1024 * 1024; // bytes of one file
const address = (file) => `/sim/file?${new URLSearchParams({ id: file.id })}`;

/** `812 B`, `3.4 kB`, `1.2 MB`. */
export function size(bytes) {
  if (!Number.isFinite(bytes)) return "";
  if (bytes < 1000) return `${bytes} B`;
  return bytes < 1_000_000 ? `${(bytes / 1000).toFixed(1)} kB` : `${(bytes / 1_000_000).toFixed(1)} MB`;
}

/** Nodes of a message's files: pictures are shown, others are downloads. */
export const fileList = (files) => files.map((file) => {
  const picture = /^image\/(png|jpeg|gif|webp)$/.test(file.mimetype ?? "");
  const label = [icon(ICONS.file), h("span", {}, file.name ?? "file"), h("span", { class: "faint" }, size(file.size))];
  const look = picture ? [h("img", { src: address(file), alt: file.name ?? "", loading: "lazy" })] : label;
  return h("a", { class: picture ? "picture" : "file", href: address(file), download: file.name ?? "file" }, ...look);
});

/** Files waiting in a composer, drawn as chips into `tray`. */
export function basket(tray) {
  let files = [];
  const draw = () => tray.replaceChildren(...files.map((file) => h("span", { class: "file" }, icon(ICONS.file),
    h("span", {}, file.name), h("span", { class: "faint" }, size(file.size)),
    h("button", { type: "button", class: "quiet", "aria-label": `Remove ${file.name}`, on: { click: () => drop(file) } }, icon(ICONS.close)))));
  const keep = (next) => {
    files = next;
    draw();
  };
  const drop = (file) => keep(files.filter((one) => one !== file));
  return {
    add(more) {
      const fitting = [...more].filter((file) => file.size <= LARGEST);
      if (fitting.length < more.length) toast(`A file may have ${size(LARGEST)} at most.`);
      if (files.length + fitting.length > MOST) toast(`A message takes ${MOST} files at most.`);
      keep([...files, ...fitting].slice(0, MOST));
    },
    clear: () => keep([]),
    count: () => files.length,
    encoded: () => Promise.all(files.map(async (file) => ({
      name: file.name, media_type: file.type || "application/octet-stream", content: await base64(file),
    }))),
  };
}

const base64 = (file) => new Promise((done, failed) => {
  const reader = new FileReader();
  reader.onload = () => done(reader.result.slice(reader.result.indexOf(",") + 1));
  reader.onerror = () => failed(reader.error);
  reader.readAsDataURL(file);
});
