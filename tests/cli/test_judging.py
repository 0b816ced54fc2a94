"""What is said of streams and consumers that are as the map says, and of those that are not."""

from datetime import timedelta
from typing import Any

import pytest

from schemas.base import now
from schemas.bus import SESSIONS
from services.cli.judging import consumer_finding, letters_finding, size, stream_finding, unarchived_finding
from services.runtime.topology import stream_config

WANTED = stream_config(SESSIONS, 1)
GIB = 2**30


def info(held: int = 0, cluster: dict[str, Any] | None = None, **config: Any) -> dict[str, Any]:
    return {
        "config": WANTED | config,
        "state": {"messages": 7, "bytes": held},
        "cluster": cluster or {},
    }


def test_a_stream_as_the_map_says_is_fine_and_what_an_operator_enlarged_too() -> None:
    assert stream_finding(WANTED, info()).ok
    assert stream_finding(WANTED, info(max_bytes=64 * GIB, num_replicas=3, description="other words")).ok


@pytest.mark.parametrize(
    ("told", "found", "needed"),
    [
        ({"error": {"code": 404}}, "missing", True),
        (info(subjects=["session.*.*.*.out"]), "other than the map says: subjects", True),
        (info(num_replicas=0), "other than the map says: num_replicas", True),
        (info(held=7 * GIB), "7.5 GB of 8.6 GB (88%), replicas: 1; nearly full", False),
        (info(cluster={"replicas": [{"name": "n2", "current": False}]}), "not in step: n2", False),
        (
            info(cluster={"replicas": [{"name": "n2", "current": True, "offline": True}]}),
            "not in step: n2",
            False,
        ),
    ],
)
def test_a_stream_that_is_not_has_a_way_out(told: dict[str, Any], found: str, needed: bool) -> None:
    finding = stream_finding(WANTED, told)
    assert (finding.ok, finding.needed) == (False, needed)
    assert found in finding.found
    assert finding.todo


def consumer(**more: int) -> dict[str, int]:
    return {"num_pending": 0, "num_ack_pending": 0, "num_redelivered": 0} | more


@pytest.mark.parametrize(
    ("told", "todo"),
    [
        (consumer(num_pending=1_000, num_ack_pending=4_000), ""),
        (consumer(num_pending=1_001), "see whether scheduler runs and keeps up"),
        (consumer(num_redelivered=1), "read the log of scheduler"),
        ({"error": {"code": 404}}, "start a service of this version"),
    ],
)
def test_a_consumer_that_lags_or_fails_is_told(told: dict[str, Any], todo: str) -> None:
    finding = consumer_finding("SESSIONS/scheduler", told)
    assert finding.ok is (not todo)
    assert finding.todo.startswith(todo)


def test_letters_and_events_that_wait() -> None:
    assert letters_finding({"state": {"messages": 0}}).ok
    assert letters_finding({"state": {"messages": 2}}).todo == "look at them: threadmill dead list"
    at = now()
    assert unarchived_finding(None, at).found == "all are archived"
    assert unarchived_finding(at - timedelta(seconds=300), at).ok
    assert not unarchived_finding(at - timedelta(seconds=301), at).ok


def test_sizes_are_for_people() -> None:
    assert [size(n) for n in (0, 999, 1_000, 2_500_000, 10**16)] == [
        "0 B",
        "999 B",
        "1.0 kB",
        "2.5 MB",
        "10000.0 TB",
    ]
