"""What ingress counts of its way in."""

from prometheus_client import Counter, Histogram

DECISIONS = Counter(
    "threadmill_ingress_decisions_total", "What became of Slack's payloads", ["decision", "reason"]
)
REDELIVERED = Counter("threadmill_ingress_redelivered_total", "Payloads that Slack marked as brought again")
ANSWERS = Histogram(
    "threadmill_ingress_answer_seconds",
    "From a payload's arrival to its answer",
    ["status"],
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2, 3),
)
