"""A worker that speaks the real protocol and does what the text of the input says, in place of an agent.

`finish` ends the turn; `idle` ends it and waits for more inputs; `obey` works until it is stopped; `hang` does not even
then; `die N` is killed in its first N attempts, `freeze N` lives on in them without renewing its lease; `take and die`
takes one more input first; `hand over` leaves the first time, at a cost, and `hand over, then hang` hangs the second time;
`talk, then hang` says more than fits into one message first.
"""

import asyncio
import contextlib
import os
import sys

from schemas.base import MalformedMessage, now
from schemas.buckets import Lease
from schemas.bus import LEASES, SESSIONS, WORK
from schemas.ends import TurnEnd
from schemas.events import Claimed, HandedOver, InputTaken, TextBlock, TurnFinished, TurnStarted
from schemas.inputs import CONTROLS, INPUTS, Said, Stop
from schemas.keys import SessionKey
from schemas.work import Admission, Admit, Assignment
from services.runtime.bucket import Bucket
from services.runtime.bus import Bus, Draft, Fence
from services.runtime.connection import BusSettings, close_connection, open_connection
from services.runtime.errors import Conflict, Unavailable
from services.runtime.follow import Follow, read
from services.runtime.pull import Pull
from services.runtime.tasks import cancel

RENEW_SECONDS = 5.0


class Died(Exception):
    """The worker is dead: nothing is released, nothing is written any more."""


class ScriptedWorker:
    def __init__(self, bus: Bus, name: str, pool: str = "default") -> None:
        self.bus, self.name, self.pool = bus, name, pool
        self.leases = Bucket(bus, LEASES.name, Lease)
        self.key = SessionKey("x", "x", "x")
        self.revision = self.token = self.out = self.claimed = 0
        self.attempt = 1
        self.frozen = False
        self.taken: set[int] = set()
        self.leaving = asyncio.Event()

    async def until_told(self) -> None:
        """Be there and take nothing, until told to leave."""
        await self.leaving.wait()

    async def run(self) -> None:
        async with Pull(self.bus.client, WORK.name, f"pool-{self.pool}", batch=1, ahead=False) as pull:
            async for delivery in pull:
                assignment = Assignment.decode(delivery.data)
                if await self.takes(assignment):
                    await delivery.ack()
                    await self.bus.client.flush()
                    break
                await delivery.ack()
        renewing = asyncio.create_task(self.renew())
        try:
            await self.work(assignment.turn)
            await self.release()
        finally:
            renewing.cancel()

    async def takes(self, assignment: Assignment) -> bool:
        self.key, self.attempt = assignment.key, assignment.attempt
        if await self.ended(assignment.turn):
            return False
        try:
            self.revision = self.token = await self.leases.create(str(self.key), Lease(holder=self.name))
        except Conflict:
            return False
        if await self.ended(assignment.turn):
            await self.release()
            return False
        last = await self.bus.last(SESSIONS.name, f"session.{self.key}.out")
        self.out = last.sequence if last else 0
        await self.say(
            Claimed(turn=assignment.turn, lease=self.token, holder=self.name, attempt=self.attempt)
        )
        self.claimed = self.out
        return True

    async def ended(self, turn: int) -> bool:
        return await self.bus.last(SESSIONS.name, f"session.{self.key}.end.{turn}") is not None

    async def renew(self) -> None:
        while True:
            await asyncio.sleep(RENEW_SECONDS)
            lease = Lease(holder=self.name, token=self.token)
            while not self.frozen:
                try:
                    self.revision = await self.leases.put(str(self.key), lease, self.revision, deadline=1)
                    break
                except Unavailable:
                    await asyncio.sleep(0.5)
                except Conflict:
                    self.revision = await self.leases.create(str(self.key), lease)
                    break

    async def release(self) -> None:
        with contextlib.suppress(Conflict):
            await self.leases.delete(str(self.key), self.revision)

    async def say(self, event) -> None:
        draft = Draft(
            subject=event.subject(self.key), message=event, fence=Fence(self.out), session=str(self.key)
        )
        self.out = await self.bus.publish(draft)

    async def work(self, turn: int) -> None:
        text = await self.text_of(turn)
        started = TurnStarted(
            turn=turn, attempt=self.attempt, worker=self.name, agent="scripted", resumed=False, warm=True
        )
        await self.say(started)
        if text.startswith("die") and self.attempt <= int(text.split()[1]):
            raise Died
        if text.startswith("freeze") and self.attempt <= int(text.split()[1]):
            self.frozen = True
            await asyncio.Event().wait()
        if text == "take and die":
            await self.take_one(turn)
            raise Died
        if text.startswith("talk"):
            await self.talk(turn)
        if text.startswith("hand over") and not await self.handed_over_before():
            await self.say(HandedOver(turn=turn, reason="the pod ends", cost_usd=0.25))
            return
        if text.endswith("hang"):
            await asyncio.Event().wait()
        outcome = "cancelled" if text == "obey" and await self.stopped() else "completed"
        await self.end(turn, outcome)
        if text == "idle":
            await self.wait_for_more(turn)

    async def talk(self, turn: int) -> None:
        for block in range(6):
            await self.say(TextBlock(turn=turn, block=block, text=f"{block} " + "x" * 900_000))
        await self.say(TextBlock(turn=turn, block=6, text="the last words"))

    async def text_of(self, sequence: int) -> str:
        stored = await self.bus.at(SESSIONS.name, sequence)
        assert stored is not None
        message = INPUTS.decode(stored.data)
        assert isinstance(message, Said)
        return message.text

    async def handed_over_before(self) -> bool:
        events = await read(self.bus, SESSIONS.name, [f"session.{self.key}.out"])
        return any(b'"handed-over"' in event.data for event in events)

    async def stopped(self) -> bool:
        filters = [f"session.{self.key}.control"]
        # A stop before the claim meant an earlier turn.
        follow = Follow(self.bus, SESSIONS.name, filters, after=self.claimed)
        async with contextlib.aclosing(follow.deliveries()) as found:
            async for delivery in found:
                if delivery and isinstance(CONTROLS.decode(delivery.data), Stop):
                    return True
        return False

    async def take_one(self, turn: int) -> None:
        follow = Follow(self.bus, SESSIONS.name, [f"session.{self.key}.in.*"], after=turn)
        async with contextlib.aclosing(follow.deliveries()) as inputs:
            async for delivery in inputs:
                if delivery:
                    await self.say(InputTaken(turn=turn, sequence=delivery.sequence, id="x"))
                    return

    async def waiting_after(self, turn: int) -> list[int]:
        inputs = await read(self.bus, SESSIONS.name, [f"session.{self.key}.in.*"], after=turn)
        return [each.sequence for each in inputs if is_said(each.data)]

    async def end(self, turn: int, outcome: str, **more) -> None:
        taken = await self.waiting_after(turn) if outcome == "completed" else []
        self.taken |= {turn, *taken}
        for sequence in taken:
            await self.say(InputTaken(turn=turn, sequence=sequence, id="x"))
        finished = TurnFinished(turn=turn, outcome=outcome)  # type: ignore[arg-type]
        stored = await self.bus.at(SESSIONS.name, turn)
        assert stored is not None
        user = INPUTS.decode(stored.data).user  # type: ignore[union-attr]
        end = TurnEnd(
            turn=turn,
            outcome=outcome,
            inputs=(turn, *taken),
            user=user,
            attempt=self.attempt,
            branch=f"of-{turn}",
            **more,
        )
        await self.bus.publish_batch(
            [
                Draft(subject=finished.subject(self.key), message=finished, fence=Fence(self.out)),
                Draft(subject=end.subject(self.key), message=end, fence=Fence(0)),
            ]
        )
        last = await self.bus.last(SESSIONS.name, f"session.{self.key}.out")
        assert last is not None
        self.out = last.sequence

    async def wait_for_more(self, after: int) -> None:
        follow = Follow(self.bus, SESSIONS.name, [f"session.{self.key}.in.*"], after=after)
        async with contextlib.aclosing(follow.deliveries()) as inputs:
            while delivery := await self.next_or_leave(inputs):
                if is_said(delivery.data):
                    await self.next_turn(delivery.sequence)

    async def next_or_leave(self, inputs):
        leave = asyncio.create_task(self.leaving.wait())
        heard = asyncio.create_task(self.next_of(inputs))
        try:
            await asyncio.wait([leave, heard], return_when=asyncio.FIRST_COMPLETED)
            return heard.result() if heard.done() else None
        finally:
            await cancel(leave, heard)

    async def next_of(self, inputs):
        while True:
            if delivery := await anext(inputs):
                return delivery

    async def next_turn(self, turn: int) -> None:
        if turn in self.taken:
            return
        stored = await self.bus.at(SESSIONS.name, turn)
        assert stored is not None
        request = Admit(session=str(self.key), turn=turn, user=INPUTS.decode(stored.data).user)  # type: ignore[union-attr]
        admission = Admission.decode(await self.bus.request(request.subject(), request))
        if admission.admitted:
            await self.end(turn, "completed")
        else:
            await self.end(turn, "rejected", reason=admission.reason, retry_at=admission.retry_at)


def is_said(payload: bytes) -> bool:
    try:
        return isinstance(INPUTS.decode(payload), Said)
    except MalformedMessage:
        return False


async def main() -> None:
    name = os.environ["THREADMILL_WORKER"]
    client = await open_connection(BusSettings(url=os.environ["THREADMILL_NATS_URL"]), name, lambda: None)
    print(name, "waits since", now(), flush=True)
    worker = ScriptedWorker(Bus(client), name, os.environ["THREADMILL_POOL"])
    try:
        await worker.run()
    except Died:
        os._exit(9)
    await close_connection(client)


if __name__ == "__main__":
    asyncio.run(main())
    sys.exit(0)
