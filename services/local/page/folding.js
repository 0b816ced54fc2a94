// Long runs of task cards: the last few stand, the earlier ones wait behind one line.

const RUN = 8; // a shorter run of cards is shown whole
const STAND = 5; // how many of a longer one are

/**
 * `blocks` with each long run's earlier finished cards replaced by `{type: "fold", first, count}`. `opened` holds the
 * first tasks of runs that the person unfolded; `held(task_id)` is true for a card that they have open.
 */
export function folded(blocks, opened, held) {
  const shown = [];
  for (let at = 0; at < blocks.length; ) {
    let end = at;
    while (end < blocks.length && blocks[end].type === "task_card") end += 1;
    if (end === at) shown.push(blocks[end++]);
    else shown.push(...shortened(blocks.slice(at, end), opened, held));
    at = end;
  }
  return shown;
}

function shortened(run, opened, held) {
  const first = run[0].task_id;
  if (run.length < RUN || opened.has(first)) return run;
  const early = run.slice(0, -STAND);
  const telling = early.filter((task) => task.status !== "complete" || held(task.task_id)); // no failure is folded away
  return [{ type: "fold", first, count: early.length - telling.length }, ...telling, ...run.slice(-STAND)]
    .filter((one) => one.type !== "fold" || one.count > 0);
}
