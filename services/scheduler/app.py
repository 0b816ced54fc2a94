"""The scheduler, put together."""

import asyncio
from collections.abc import Callable
from secrets import token_hex

from schemas.base import now
from schemas.buckets import Lease, OpenTurn, Turns
from schemas.bus import SCHEDULER
from schemas.credentials import Secrets
from schemas.keys import SessionKey
from services.runtime.bus import Bus
from services.runtime.consume import Consume
from services.runtime.health import Readiness
from services.runtime.issuer import Issuer
from services.runtime.pings import Pings
from services.runtime.service import Service
from services.scheduler.admission import Desk
from services.scheduler.agenda import Agenda
from services.scheduler.conductor import Conductor
from services.scheduler.credentials import Credentials, Gate
from services.scheduler.dismissal import Dismissal
from services.scheduler.ending import Ending
from services.scheduler.grants import Grants
from services.scheduler.handlers import LogHandler, lane_of
from services.scheduler.hiring import Hiring
from services.scheduler.idlers import Idlers
from services.scheduler.instructions import Instructions
from services.scheduler.launcher import Launcher
from services.scheduler.leases import Leases
from services.scheduler.log import SessionLog
from services.scheduler.memories import Memories
from services.scheduler.metrics import OPEN, STUCK
from services.scheduler.ratelimits import RateLimits
from services.scheduler.recall import Recall
from services.scheduler.requests import admissions
from services.scheduler.roster import Roster
from services.scheduler.settings import SchedulerSettings
from services.scheduler.showing import Showing
from services.scheduler.staff import Staff
from services.scheduler.starting import Starting
from services.scheduler.stuck import Seen, stuck
from services.scheduler.summaries import Summaries
from services.scheduler.telling import Telling


class Scheduler:
    """One replica of the scheduler."""

    def __init__(
        self,
        bus: Bus,
        settings: SchedulerSettings,
        launcher: Launcher,
        *,
        issuer: Issuer | None,
        gate: Gate | None,
        secrets: Callable[[], Secrets],
    ) -> None:
        self._settings = settings
        self._agenda = Agenda()
        self._memories = Memories(bus, self._agenda.soon)
        self._leases = Leases(bus, token_hex(4), self._lease_changed)
        grants = Grants(bus, required=issuer is not None)
        dismissal = Dismissal(launcher, grants, self._leases, settings.deadline_grace)
        roster = Roster(launcher, self._memories, self._leases, settings.max_workers)
        hiring = Hiring(launcher, settings, roster=roster, leases=self._leases)
        self._idlers = Idlers(roster, leases=self._leases, grants=grants, hiring=hiring)
        self._staff = Staff(
            launcher,
            hiring=hiring,
            roster=roster,
            memories=self._memories,
            leases=self._leases,
            grants=grants,
            dismissal=dismissal,
            on_exit=self._worker_left,
            on_trouble=self._workers_do_not_come,
        )
        rates, summaries = RateLimits(bus, settings), Summaries(bus)
        recall = Recall(SessionLog(bus), self._leases, rates, summaries)
        instructions = Instructions(bus)
        self._starting = Starting(
            bus,
            settings,
            self._agenda,
            rates=rates,
            staff=self._staff,
            summaries=summaries,
            instructions=instructions,
        )
        self._conductor = Conductor(
            bus=bus,
            rules=settings,
            agenda=self._agenda,
            memories=self._memories,
            leases=self._leases,
            recall=recall,
            starting=self._starting,
            ending=Ending(bus, self._leases, settings.max_attempts),
            telling=Telling(bus, self._leases, self._memories),
            staff=self._staff,
            idlers=self._idlers,
            dismissal=dismissal,
            showing=Showing(summaries, self._agenda),
        )
        desk = Desk(
            conductor=self._conductor,
            rules=settings,
            memories=self._memories,
            recall=recall,
            leases=self._leases,
            starting=self._starting,
            agenda=self._agenda,
            instructions=instructions,
        )
        credentials = Credentials(bus, issuer, grants, gate, secrets)
        self._requests = (admissions(bus, desk), *credentials.requests())
        self._consume = Consume(bus, SCHEDULER, "scheduler", LogHandler(self._conductor).handle, lane_of)
        self._pings = Pings(bus, "scheduler")
        OPEN.set_function(lambda: sum(memory.open is not None for _, memory in self._memories.active()))
        STUCK.set_function(lambda: sum(self._is_stuck(*each) for each in self._memories.active()))

    def is_loaded(self) -> bool:
        """Tell whether it knows all sessions and leases."""
        return self._memories.loaded.is_set() and self._leases.loaded.is_set()

    def has_adopted(self) -> bool:
        """Tell whether it knows the workers that there are."""
        return self._staff.adopted.is_set()

    def _is_stuck(self, key: SessionKey, memory: Turns) -> bool:
        held = self._leases.held(key)
        lease = Lease(holder=held.holder, since=held.since) if held else None
        return stuck(Seen(memory=memory, lease=lease), now(), self._settings) is not None

    async def run(self) -> None:
        """Learn what there is, then decide for ever."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._leases.run(), name="leases")
            tasks.create_task(self._memories.run(), name="memories")
            await self._memories.loaded.wait()
            await self._leases.loaded.wait()
            tasks.create_task(self._staff.run(), name="staff")
            tasks.create_task(self._idlers.run(), name="idlers")
            tasks.create_task(self._agenda.run(self._conductor.advance), name="agenda")
            for requests in self._requests:
                tasks.create_task(requests.run(), name="requests")
            tasks.create_task(self._consume.run(), name="log")
            tasks.create_task(self._pings.run(), name="pings")

    async def drain(self) -> None:
        """Let the workers hand over; nothing starts any more."""
        await self._staff.close(self._settings.drain_grace)

    def _lease_changed(self, key: SessionKey) -> None:
        self._staff.lease_changed(key)
        self._agenda.soon(key)
        self._starting.look_for_room()

    def _workers_do_not_come(self, key: SessionKey, turn: OpenTurn) -> None:
        self._starting.tell_cold(key, turn)

    def _worker_left(self) -> None:
        self._starting.look_for_room()


async def wire(
    bus: Bus,
    readiness: Readiness,
    settings: SchedulerSettings,
    launcher: Launcher,
    issuer: Issuer | None = None,
    *,
    gate: Gate | None = None,
    secrets: Callable[[], Secrets] = Secrets,
) -> Service:
    """Return the scheduler; it is ready when it knows all sessions, leases and workers. `issuer` signs workers.

    Where their launcher can give them no credential, they show at the `gate` who they are; `secrets` are
    read anew for each session.
    """
    scheduler = Scheduler(bus, settings, launcher, issuer=issuer, gate=gate, secrets=secrets)
    readiness.add("memory", scheduler.is_loaded)
    readiness.add("workers", scheduler.has_adopted)
    return scheduler
