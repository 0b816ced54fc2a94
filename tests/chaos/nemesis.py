"""What goes wrong: a fault is drawn again and again, done to something, and undone."""

import asyncio
import contextlib
import json
import random
import resource
import signal
import time
from collections import Counter
from collections.abc import Awaitable, Callable

import psutil
from nats.aio.client import Client

from schemas.bus import LEASE_LIFE
from tests.chaos.field import SERVICES, Field
from tests.chaos.fleet import Program, eventually
from tests.chaos.line import Fault, Line
from tests.chaos.people import People

MOST_AT_ONCE = 5
SKEW_SECONDS = 5.0
# A worker that may not have more than this cannot go on.
STARVED_BYTES = 64 * 2**20
READY_SECONDS = 40.0
PAST_A_LEASE = LEASE_LIFE + 4.0
Strike = Callable[[], Awaitable[bool]]


class Nemesis:
    """Strikes until it is cancelled, and heals what it struck then. `struck` counts the faults by kind."""

    def __init__(self, field: Field, people: People) -> None:
        self._field = field
        self._people = people
        self._lot = random.Random(field.setup.seed)
        self.struck: Counter[str] = Counter()
        self._faults = {
            name: weighed
            for name, weighed in self._all().items()
            if any(word in name for word in field.setup.only)
        }
        self._timeline = field.folder / "faults.jsonl"

    def _all(self) -> dict[str, tuple[int, Strike]]:
        service, worker, agent = self._service, self._worker, self._agent
        faults: dict[str, tuple[int, Strike]] = {
            "service: SIGTERM": (4, lambda: self._signal(service(), signal.SIGTERM)),
            "service: SIGKILL": (8, lambda: self._signal(service(), signal.SIGKILL)),
            "service: paused": (5, lambda: self._pause_program(service())),
            "service: rolling restart": (2, self._roll),
            "service: clock moved": (3, self._move_clock),
            "worker: SIGTERM": (4, lambda: self._end_process(worker(), signal.SIGTERM)),
            "worker: SIGKILL": (6, lambda: self._end_process(worker(), signal.SIGKILL)),
            "worker: paused": (6, lambda: self._pause_process(worker(), self._lot.uniform(1, 25))),
            "worker: paused past its lease": (2, lambda: self._pause_process(worker(), PAST_A_LEASE)),
            "worker: out of memory": (3, self._starve),
            "agent: SIGKILL": (4, lambda: self._end_process(agent(), signal.SIGKILL)),
            "agent: hangs": (2, lambda: self._pause_process(agent(), self._lot.uniform(5, 30))),
            "broker: node SIGKILL": (3, lambda: self._node(signal.SIGKILL)),
            "broker: node SIGTERM": (2, lambda: self._node(signal.SIGTERM)),
            "broker: node paused": (
                2,
                lambda: self._pause_program(self._lot.choice(self._field.nodes.programs)),
            ),
            "broker: all nodes SIGKILL": (1, self._all_nodes),
            "object store: errors": (3, lambda: self._line(self._field.store, "errors")),
            "object store: silent": (2, lambda: self._line(self._field.store, "silent")),
            "object store: lost replies": (3, lambda: self._line(self._field.store, "lost replies")),
            "object store: cut until archivers die": (2, self._archivers_die),
            "object store: cut": (2, lambda: self._line(self._field.store, "cut")),
            "network: cut": (5, lambda: self._line(self._any_line(), "cut")),
            "network: slow": (3, lambda: self._line(self._any_line(), "slow")),
            "network: silent": (4, lambda: self._line(self._any_line(), "silent")),
            "slack: 429": (3, lambda: self._call(status=429, retry_after=2)),
            "slack: 500": (3, lambda: self._call(status=500)),
            "slack: lost replies": (4, lambda: self._call(lose_reply=True)),
            "slack: duplicates": (5, lambda: self._deliver("duplicate", 10)),
            "slack: late": (3, lambda: self._deliver("delay", 3)),
            "slack: lost acknowledgements": (4, lambda: self._deliver("drop_ack", 3)),
            "slack: disconnects": (3, lambda: self._deliver("disconnect", 2)),
        }
        if self._field.setup.in_folder:
            faults = {name: fault for name, fault in faults.items() if "object store" not in name}
            faults["archive: disk full"] = (6, self._fill_disk)
        if self._field.nodes.replicas > 1:
            faults["broker: leader steps down"] = (3, self._step_down)
        return faults

    async def run(self) -> None:
        """Strike for ever."""
        pause = self._field.setup.strike_every
        async with asyncio.TaskGroup() as tasks:
            under_way: set[asyncio.Task[None]] = set()
            while True:
                await asyncio.sleep(self._lot.uniform(0.3, 1.7) * pause)
                under_way = {task for task in under_way if not task.done()}
                if len(under_way) < MOST_AT_ONCE:
                    under_way.add(tasks.create_task(self._strike()))

    async def _strike(self) -> None:
        names = list(self._faults)
        name = self._lot.choices(names, [self._faults[each][0] for each in names])[0]
        began = time.time()
        with contextlib.suppress(psutil.Error, ProcessLookupError):
            if await self._faults[name][1]():
                self.struck[name] += 1
                with self._timeline.open("a") as lines:
                    lines.write(json.dumps({"fault": name, "from": began, "to": time.time()}) + "\n")

    # --- services ----------------------------------------------------------------------------------------------

    def _service(self) -> Program:
        return self._lot.choice(self._field.programs)

    async def _signal(self, program: Program, number: signal.Signals) -> bool:
        return program.send(number)

    async def _pause_program(self, program: Program) -> bool:
        if not program.send(signal.SIGSTOP):
            return False
        try:
            await asyncio.sleep(self._lot.uniform(1, 20))
        finally:
            program.send(signal.SIGCONT)
        return True

    async def _roll(self) -> bool:
        """Replace the replicas one after the other, each when the one before is ready."""
        for program in self._field.services[self._lot.choice(SERVICES)]:
            await self._replace(program)
        return True

    async def _replace(self, program: Program) -> None:
        starts = program.starts
        program.send(signal.SIGTERM)

        async def ready_again() -> bool:
            return program.starts > starts and await self._field.is_ready(program.name)

        await eventually(ready_again, READY_SECONDS)

    async def _move_clock(self) -> bool:
        program = self._service()
        program.environ["THREADMILL_CHAOS_SKEW"] = str(self._lot.uniform(-SKEW_SECONDS, SKEW_SECONDS))
        await self._replace(program)
        return True

    # --- workers -----------------------------------------------------------------------------------------------

    def _worker(self) -> psutil.Process | None:
        found = self._field.workers()
        return self._lot.choice(found) if found else None

    def _agent(self) -> psutil.Process | None:
        found = self._field.agents()
        return self._lot.choice(found) if found else None

    async def _end_process(self, process: psutil.Process | None, number: signal.Signals) -> bool:
        if process is not None:
            process.send_signal(number)
        return process is not None

    async def _pause_process(self, process: psutil.Process | None, seconds: float) -> bool:
        if process is None:
            return False
        process.suspend()
        try:
            await asyncio.sleep(seconds)
        finally:
            process.resume()
        return True

    async def _starve(self) -> bool:
        worker = self._worker()
        if worker is not None:
            resource.prlimit(worker.pid, resource.RLIMIT_AS, (STARVED_BYTES, STARVED_BYTES))
        return worker is not None

    # --- the broker --------------------------------------------------------------------------------------------

    async def _node(self, number: signal.Signals) -> bool:
        await self._down([self._lot.choice(self._field.nodes.programs)], number, self._lot.uniform(0, 6))
        return True

    async def _all_nodes(self) -> bool:
        await self._down(self._field.nodes.programs, signal.SIGKILL, self._lot.uniform(0, 20))
        return True

    async def _down(self, nodes: list[Program], number: signal.Signals, seconds: float) -> None:
        for node in nodes:
            node.hold()
            node.send(number)
        try:
            await asyncio.sleep(seconds)
        finally:
            for node in nodes:
                node.release()

    async def _step_down(self) -> bool:
        client = Client()
        with contextlib.suppress(Exception):
            await self._field.nodes.connect(client, connect_timeout=2)
            await self._field.nodes.step_down(client, self._lot.choice(["SESSIONS", "KV_leases", "KV_turns"]))
            await client.close()
            return True
        return False

    # --- lines and Slack ---------------------------------------------------------------------------------------

    def _any_line(self) -> Line:
        return self._lot.choice([*self._field.lines.values(), self._field.door])

    async def _line(self, line: Line, fault: Fault) -> bool:
        if line.fault != "none":
            return False
        line.strike(fault)
        try:
            await asyncio.sleep(self._lot.uniform(0.5, 12))
        finally:
            line.heal()
        return True

    async def _archivers_die(self) -> bool:
        """Every archiver dies with what it could not upload."""
        store, archivers = self._field.store, self._field.services["archiver"]
        if store.fault != "none" or not all([await self._field.is_ready(each.name) for each in archivers]):
            return False
        store.strike("cut")
        try:
            await asyncio.sleep(self._lot.uniform(0.5, 12))
        finally:
            for archiver in archivers:
                archiver.send(signal.SIGKILL)
            store.heal()
        return True

    async def _fill_disk(self) -> bool:
        self._field.full.touch()
        try:
            await asyncio.sleep(self._lot.uniform(0.5, 12))
        finally:
            self._field.full.unlink(missing_ok=True)
        return True

    async def _call(self, **fault: object) -> bool:
        method = self._lot.choice(["chat.*", "chat.*", "reactions.*", "assistant.*", "agents.*"])
        await self._people.post("fault", method=method, times=self._lot.randint(1, 4), **fault)
        return True

    async def _deliver(self, how: str, times: int) -> bool:
        await self._people.post("fault", deliver=how, times=self._lot.randint(1, times))
        return True
