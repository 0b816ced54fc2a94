"""What the writer counts."""

from prometheus_client import Counter, Histogram

CALLS = Counter("threadmill_slack_calls_total", "Calls of the writer to Slack", ["method", "result"])
GIVEN_UP = Counter("threadmill_writer_given_up_total", "What could not be shown in Slack", ["what", "reason"])
DUPLICATES = Counter("threadmill_writer_duplicates_total", "Messages that stood twice and were deleted")
FINAL = Histogram(
    "threadmill_writer_final_seconds",
    "From a turn's end to its final message",
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0, 30.0, 120.0),
)


def give_up(what: str, reason: str) -> None:
    """Count something that could not be shown; of the reason only its first word is kept."""
    GIVEN_UP.labels(what, reason.partition(":")[0]).inc()
