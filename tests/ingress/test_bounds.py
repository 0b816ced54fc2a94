"""Nothing that strangers fill can grow."""

import asyncio

from services.ingress.behind import Behind
from services.ingress.bounded import Bounded


def test_a_bounded_memory_forgets_the_least_recently_used() -> None:
    memory: Bounded[str, int] = Bounded(2)
    memory.put("a", 1)
    memory.put("b", 2)
    assert memory.get("a") == 1
    memory.put("c", 3)
    assert (memory.get("a"), memory.get("b"), memory.get("c")) == (1, None, 3)


def test_a_bounded_memory_forgets_with_time() -> None:
    memory: Bounded[str, int] = Bounded(2, 0.0)
    memory.put("a", 1)
    assert memory.get("a") is None


async def test_too_much_behind_is_dropped_and_what_fails_disturbs_nobody() -> None:
    done: list[int] = []

    async def work(number: int) -> None:
        if number == 0:
            raise ValueError("not this one")
        done.append(number)

    behind = Behind(most=3)
    assert [behind.start(work(number), str(number)) for number in range(5)] == [
        True,
        True,
        True,
        False,
        False,
    ]
    await behind.drain(5)
    assert done == [1, 2]

    assert behind.start(asyncio.sleep(60), "long")
    await behind.stop()
