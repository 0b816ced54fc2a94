"""What the scheduler counts."""

from prometheus_client import Counter, Gauge, Histogram

TURNS = Counter("threadmill_turns_total", "Turns by how they ended", ["outcome"])
OPEN = Gauge("threadmill_open_turns", "Turns that are open")
STUCK = Gauge("threadmill_stuck_turns", "Sessions with a turn or inputs that do not go on by themselves")
LINE = Gauge("threadmill_waiting_turns", "Open turns that wait for a free worker")
STARTS = Counter("threadmill_starts_total", "Assignments handed out")
REFUSED_TURNS = Counter("threadmill_refused_turns_total", "Inputs that were not admitted")
DEATHS = Counter("threadmill_worker_deaths_total", "Workers that died in the middle of a turn")
LAUNCHES = Counter("threadmill_launches_total", "Workers that were to be launched", ["result"])
HELD_UP = Gauge("threadmill_launches_held_up", "1 while workers that were launched do not come")
ASSIGNED = Histogram(
    "threadmill_assigned_seconds",
    "From the input to the first assignment of its turn",
    buckets=(0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5, 1, 5, 30, 120),
)
