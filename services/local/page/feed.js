// The stream of changes: says what to fetch again, and everything after each reconnect.

const GAP = 80; // ms between two fetches of the same thing: a stream changes more often than an eye follows
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

/** Runs `fetcher` now; calls that come meanwhile, or shortly after, become one more run. */
export function coalesced(fetcher) {
  let running = false;
  let again = false;
  const run = async () => {
    if (running) {
      again = true;
      return;
    }
    running = true;
    try {
      await fetcher();
    } finally {
      setTimeout(() => {
        running = false;
        if (again) run();
        again = false;
      }, GAP);
    }
  };
  return run;
}
