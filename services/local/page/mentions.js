// Completes `@na...` while a person types.

import { h } from "./dom.js";
import { mentionable } from "./names.js";

const MOST = 6;
let count = 0;

/** Watches `area` and shows matches inside `form`; `takes(keydown)` is true where the key was meant for the list. */
export function completion(area, form) {
  const id = `mentions-${(count += 1)}`;
  const list = h("ul", { id, class: "mentions", role: "listbox", "aria-label": "People", hidden: true });
  form.prepend(list);
  Object.entries({ "aria-autocomplete": "list", "aria-haspopup": "listbox", "aria-controls": id })
    .forEach(([name, value]) => area.setAttribute(name, value));
  let chosen = 0;
  const choose = (index) => {
    chosen = (index + list.children.length) % list.children.length;
    [...list.children].forEach((option, at) => option.setAttribute("aria-selected", String(at === chosen)));
    area.setAttribute("aria-activedescendant", list.children[chosen].id);
  };
  const show = (people) => {
    list.hidden = people.length === 0;
    area.removeAttribute("aria-activedescendant");
    list.replaceChildren(...people.map((person, at) => h("li", {
      id: `${id}-${at}`, role: "option", dataset: { handle: person.handle }, on: { pointerdown: (event) => { event.preventDefault(); put(person.handle); } },
    }, h("strong", {}, `@${person.handle}`), h("span", { class: "faint" }, person.name))));
    if (people.length) choose(0);
  };
  const put = (handle) => {
    const begin = area.value.slice(0, area.selectionStart).replace(/@[\w.-]*$/, `@${handle} `);
    const rest = area.value.slice(area.selectionStart);
    area.value = begin + rest.replace(/^ /, "");
    area.setSelectionRange(begin.length, begin.length);
    show([]);
    area.dispatchEvent(new Event("input"));
  };
  area.addEventListener("input", () => {
    const typed = /(?:^|\s)@([\w.-]*)$/.exec(area.value.slice(0, area.selectionStart));
    show(typed ? mentionable().filter((one) => one.handle.startsWith(typed[1].toLowerCase())).slice(0, MOST) : []);
  });
  area.addEventListener("blur", () => show([]));
  const keys = {
    ArrowDown: () => choose(chosen + 1), ArrowUp: () => choose(chosen - 1), Escape: () => show([]),
    Enter: () => put(list.children[chosen].dataset.handle), Tab: () => put(list.children[chosen].dataset.handle),
  };
  return {
    takes(event) {
      if (list.hidden || !keys[event.key] || event.isComposing) return false;
      event.preventDefault();
      event.stopPropagation();
      keys[event.key]();
      return true;
    },
  };
}
