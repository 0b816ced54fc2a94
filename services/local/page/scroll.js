// Keeps a list at its end while the person is at its end, and says so when they are not.

const NEAR = 60; // px from the end that still count as the end

/** `{follow(), before(), after(jump)}` around each drawing of `list`; `pill` is shown when something new is below. */
export function pinned(list, pill) {
  let atEnd = true;
  let top = 0;
  const isAtEnd = () => list.scrollHeight - list.scrollTop - list.clientHeight < NEAR;
  const toEnd = () => {
    list.scrollTop = list.scrollHeight;
    top = list.scrollTop;
    atEnd = true;
    pill.hidden = true;
  };
  list.addEventListener("scroll", () => {
    // Only a way up leaves the end: a list that became shorter meanwhile is still at its end for whoever reads.
    atEnd = isAtEnd() || (atEnd && list.scrollTop >= top);
    top = list.scrollTop;
    if (atEnd) pill.hidden = true;
  }, { passive: true });
  pill.addEventListener("click", toEnd);
  new ResizeObserver(() => atEnd && toEnd()).observe(list); // a composer that grows takes room from the list
  let height = 0;
  return {
    /** Whoever writes wants to see it: the next drawing goes to the end. */
    follow() {
      atEnd = true;
    },
    before() {
      height = list.scrollHeight;
    },
    after(jump = false) {
      if (jump || atEnd) toEnd();
      else if (list.scrollHeight > height) pill.hidden = false;
    },
  };
}
