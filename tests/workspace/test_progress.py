"""What is told of a clone that takes its time."""

from services.worker.workspace.checkout import PERCENT_SECONDS, percent


def test_a_clone_tells_how_far_it_is_no_oftener_than_somebody_reads() -> None:
    told: list[str] = []
    now = 0.0
    listen = percent(told.append, lambda: now)
    for n in range(101):
        now = n / 100 * 4 * PERCENT_SECONDS
        listen(f"Receiving objects: {n:3}% ({n}/100), 1.00 MiB | 2.00 MiB/s")
        listen("remote: Enumerating objects: 100, done.")
    assert told == [f"Receiving objects {n}%" for n in (25, 50, 75, 100)]


def test_a_small_one_tells_nothing() -> None:
    told: list[str] = []
    listen = percent(told.append, lambda: 0.0)
    for line in ("remote: Counting objects: 100% (3/3), done.", "Receiving objects: 100% (3/3), done."):
        listen(line)
    assert told == []
