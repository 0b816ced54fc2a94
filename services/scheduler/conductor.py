"""Brings a session on: its memory up to its log, then one decision after the other until there is nothing to do."""

import asyncio
import contextlib
import weakref
from datetime import datetime

from msgspec.structs import replace

from schemas.base import MalformedMessage, now
from schemas.buckets import Turns
from schemas.bus import SESSIONS
from schemas.events import EVENTS, HandedOver
from schemas.keys import SessionKey
from schemas.work import Assignment
from services.runtime.bus import Bus
from services.runtime.errors import Conflict
from services.runtime.tasks import together
from services.scheduler import memory as transitions
from services.scheduler.agenda import AGAIN_SECONDS, Agenda
from services.scheduler.core import (
    Action,
    End,
    Evict,
    Lost,
    Note,
    OpenNext,
    Publish,
    Release,
    Rest,
    Start,
    Tell,
    Unclaimed,
    View,
    decide,
)
from services.scheduler.counting import count
from services.scheduler.dismissal import Dismissal
from services.scheduler.ending import Ending
from services.scheduler.idlers import Idlers
from services.scheduler.leases import Leases
from services.scheduler.memories import Memories
from services.scheduler.recall import Recall
from services.scheduler.settings import SchedulerSettings
from services.scheduler.showing import Showing
from services.scheduler.staff import Staff
from services.scheduler.starting import Starting
from services.scheduler.subjects import Heard
from services.scheduler.telling import Telling


class Conductor:
    """Advances sessions, one step at a time each; any replica may do so at any time."""

    def __init__(
        self,
        *,
        bus: Bus,
        rules: SchedulerSettings,
        agenda: Agenda,
        memories: Memories,
        leases: Leases,
        recall: Recall,
        starting: Starting,
        ending: Ending,
        telling: Telling,
        staff: Staff,
        idlers: Idlers,
        dismissal: Dismissal,
        showing: Showing,
    ) -> None:
        self._bus = bus
        self._rules = rules
        self._agenda = agenda
        self._memories = memories
        self._leases = leases
        self._recall = recall
        self._starting = starting
        self._ending = ending
        self._telling = telling
        self._staff = staff
        self._idlers = idlers
        self._dismissal = dismissal
        self._showing = showing
        self._locks: weakref.WeakValueDictionary[SessionKey, asyncio.Lock] = weakref.WeakValueDictionary()

    def lock(self, key: SessionKey) -> asyncio.Lock:
        """Return what keeps two tasks of this replica from working on the same session."""
        return self._locks.setdefault(key, asyncio.Lock())

    async def advance(self, key: SessionKey, heard: Heard | None = None) -> None:
        """Do all there is to do for `key`, after having taken `heard` into its memory.

        Raises `StreamFull` and `Unavailable`.
        """
        async with self.lock(key):
            try:
                await self._advance(key, heard)
            except Exception:  # whatever it was: what is remembered of `heard` by then, nobody tells again
                if heard:
                    self._agenda.after(key, AGAIN_SECONDS)
                raise

    async def _advance(self, key: SessionKey, heard: Heard | None) -> None:
        (known, revision), reached = await asyncio.gather(self._memories.get(key), self._reached(key, heard))
        resting = False
        while not resting:
            with contextlib.suppress(Conflict):
                resting = await self._step(key, known, revision, reached)
            known, revision = await self._memories.get(key)
        await self._showing.show(key, known, self._leases.held(key))

    async def _reached(self, key: SessionKey, heard: Heard | None) -> Heard | None:
        if heard is None:
            return None
        return await self._recall.reached(key, heard, at_hand=self._memories.at_hand(key))

    async def _step(self, key: SessionKey, known: Turns, revision: int, heard: Heard | None) -> bool:
        memory = await self._recall.up_to(key, known, heard) if heard else known
        action = decide(memory, self._view(key, memory), self._rules)
        if not isinstance(action, Lost):
            await self._leases.bury(key)
        try:
            changed = await self._changed(key, memory, action)
            remembering = self._remember(key, known, changed, revision)
            _, assignment = await together(remembering, self._assignment(key, changed, action))
        finally:
            self._staff.roster.release(key)
        return await self._carry_out(key, changed, action, assignment)

    async def _remember(self, key: SessionKey, known: Turns, changed: Turns, revision: int) -> None:
        if changed != known:
            await self._memories.put(key, changed, revision)
            count(known, changed)

    def _view(self, key: SessionKey, memory: Turns) -> View:
        return View(
            now=now(),
            held=self._leases.held(key),
            departed=self._leases.departed(key),
            published=memory.open is not None and self._staff.roster.published(key, memory.open),
        )

    async def _changed(self, key: SessionKey, memory: Turns, action: Action) -> Turns:
        match action:
            case OpenNext():
                return self._starting.begun(key, await self._starting.admitted(key, memory))
            case Start():
                return self._starting.begun(key, memory)
            case Note(turn, held):
                return replace(memory, open=transitions.held(turn, held.token, now()))
            case Lost():
                return await self._lost(key, memory, action)
            case Unclaimed(turn):
                # It is nobody's failure that all workers are busy, or that a node takes its time to come.
                blame = self._staff.has_room() and not self._staff.is_held_up()
                missed = transitions.unclaimed(turn, attempted=blame, why=self._staff.trouble)
                return replace(memory, open=missed)
        return memory

    async def _assignment(self, key: SessionKey, memory: Turns, action: Action) -> Assignment | None:
        match action:
            case OpenNext() | Start() | Publish():
                return await self._starting.assignment(key, memory)
        return None

    async def _carry_out(
        self, key: SessionKey, memory: Turns, action: Action, assignment: Assignment | None
    ) -> bool:
        """Act; True when there is nothing more to do for now."""
        match action:
            case OpenNext() | Start() | Publish():
                return await self._starting.publish(key, memory, assignment)
            case End():
                return await self._end(key, action)
            case Evict():
                return await self._evict(key, action)
            case Tell(since):
                return await self._tell(key, since)
            case Lost(_, token, _):
                return self._is_patient(key, memory, token)
            case Unclaimed(turn):
                self._idlers.suspect(key, turn)
            case Note(turn, held):
                self._idlers.suspect(key, turn, taken_by=held.holder)
            case Release(held):
                await self._dismissal.retire(key, held.holder)
            case Rest(until):
                self._rest(key, memory, until)
        return isinstance(action, Release | Rest)

    def _rest(self, key: SessionKey, memory: Turns, until: datetime | None) -> None:
        self._starting.leave_line(key)
        self._agenda.at(key, until)
        if memory.open is None:
            self._staff.roster.forget(key)

    async def _end(self, key: SessionKey, action: End) -> bool:
        self._starting.leave_line(key)
        await self._ending.end(key, action.turn, action.verdict)
        known, revision = await self._memories.get(key)
        memory = await self._recall.to_the_end(key, known)
        if memory != known:
            await self._memories.put(key, memory, revision)
            return False
        # Somebody else holds the lease: its going calls again, and so does this.
        self._agenda.after(key, 1.0)
        return True

    async def _tell(self, key: SessionKey, since: int) -> bool:
        if not await self._telling.tell(key, since):
            self._agenda.after(key, AGAIN_SECONDS)
            return True
        known, revision = await self._memories.get(key)
        if known.untold_since == since:
            await self._memories.put(key, replace(known, untold_since=0), revision)
        return False

    async def _lost(self, key: SessionKey, known: Turns, action: Lost) -> Turns:
        # Whoever ends a turn and leaves may be heard to have left first: it is not to be worked on again.
        memory = await self._recall.to_the_end(key, known)
        turn, gone = memory.open, action.departed
        if turn is None or turn.turn != action.turn.turn:
            return memory
        seen = gone if gone and gone.held.token == action.token else None
        graceful = (seen and seen.how == "released") or await self._handed_over(key, turn.started_at)
        if seen is None and not graceful and now() < self._leases.patient_until:
            return memory
        why = seen.reason if seen else ""
        return replace(memory, open=transitions.lost(turn, action.token, death=not graceful, why=why))

    def _is_patient(self, key: SessionKey, memory: Turns, token: int) -> bool:
        if memory.open and memory.open.lost != token:
            self._agenda.at(key, self._leases.patient_until)
            return True
        return False

    async def _handed_over(self, key: SessionKey, since: datetime | None) -> bool:
        last = await self._bus.last(SESSIONS.name, f"session.{key}.out")
        if last is None:
            return False
        try:
            event = EVENTS.decode(last.data)
        except MalformedMessage:
            return False
        return isinstance(event, HandedOver) and (since is None or event.at >= since)

    async def _evict(self, key: SessionKey, action: Evict) -> bool:
        if await self._dismissal.kill(key, action.held.holder) or now() >= action.revoke_at:
            self._leases.died(key, action.held)
            return False
        self._agenda.at(key, action.revoke_at)
        return True
