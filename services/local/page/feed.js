// The stream of changes: says what to fetch again, and everything after each reconnect.

const AGAIN = 2000; // ms until a stream that the server refused is opened anew

/** Calls `changed({channel, ts})` per change, `all()` at each (re)connect, `online(bool)` when that turns. */
export function follow({ changed, all, online }) {
  const source = new EventSource("/sim/events");
  source.addEventListener("open", () => {
    online(true);
    all();
  });
  source.addEventListener("change", (event) => changed(JSON.parse(event.data)));
  source.addEventListener("error", () => {
    online(false);
    if (source.readyState === EventSource.CLOSED) setTimeout(() => follow({ changed, all, online }), AGAIN);
  });
}

/** Runs `fetcher` now; calls that come meanwhile become one more run after it. */
export function coalesced(fetcher) {
  let running = null;
  let again = false;
  const loop = async () => {
    do {
      again = false;
      await fetcher();
    } while (again);
    running = null;
  };
  return () => {
    again = Boolean(running);
    running ??= loop();
    return running;
  };
}
