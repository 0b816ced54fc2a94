"""One Pod on its node, from its binding to its end."""

import asyncio
import contextlib
import shutil
from collections.abc import Awaitable, Callable
from pathlib import Path

from tests.kubernetes.api import CONFLICT, NOT_FOUND, Object, Refused, key_of, path_of
from tests.kubernetes.kubelet.container import AGAIN_SECONDS, Runner
from tests.kubernetes.kubelet.environment import Missing
from tests.kubernetes.kubelet.machine import Machine
from tests.kubernetes.kubelet.status import HOST, condition, since_when, stamp, status_of
from tests.kubernetes.kubelet.volumes import Unsupported, Volumes, sources_of


class Pod:
    """`run` is its life; whoever cancels that kills all of it and says nothing."""

    def __init__(self, pod: Object, ip: str, machine: Machine) -> None:
        self.pod = pod | {"status": {"podIP": ip, "hostIP": HOST}}
        self._ip = ip
        self._machine = machine
        self._uid = pod["metadata"]["uid"]
        self._folder = machine.folder / "pods" / self._uid
        self._changed = asyncio.Event()
        self._deleted = asyncio.Event()
        self._saying = asyncio.Lock()
        self._started = stamp()
        self._conditions: list[Object] = []
        self._over = False
        self._pressed = ""
        self._living: asyncio.Task[None] | None = None
        spec = pod["spec"]
        self._first = [self._runner(each) for each in spec.get("initContainers") or []]
        self._runners = [self._runner(each) for each in spec["containers"]]

    def _runner(self, spec: Object) -> Runner:
        return Runner(spec, self.pod, self._machine, self._folder / "roots", self._changed.set)

    def heard(self, pod: Object) -> None:
        """Take what the API server says of it now."""
        self.pod |= {"metadata": pod["metadata"]}
        if "deletionTimestamp" in pod["metadata"]:
            self._deleted.set()

    def kill(self, reason: str) -> None:
        """Have the kernel kill what runs, for `reason`."""
        for runner in self._runners:
            runner.kill(reason)

    def freeze(self) -> None:
        """Have what runs hang."""
        for runner in self._runners:
            runner.freeze()

    def press(self, message: str) -> None:
        """Put it out, as a node does that runs out of something; its object stays."""
        self._pressed = message
        self._forbid()
        if self._living:
            self._living.cancel()

    async def run(self) -> None:
        """Run it, say how it goes, and remove its object when it is deleted."""
        try:
            async with asyncio.TaskGroup() as group:
                self._living = group.create_task(self._live())
                saying = group.create_task(self._report())
                deleted = group.create_task(self._deleted.wait())
                await asyncio.wait({self._living, deleted}, return_when=asyncio.FIRST_COMPLETED)
                await self._leave(self._living)
                self._over = True
                await self._say()
                await deleted
                saying.cancel()
                await self._tell(lambda path: self._machine.api.delete(path, grace=0, uid=self._uid))
        finally:
            await asyncio.to_thread(shutil.rmtree, self._folder, ignore_errors=True)

    async def _live(self) -> None:
        try:
            volumes = await self._volumes()
            policy = self.pod["spec"]["restartPolicy"]
            for runner in self._first:
                await runner.run(volumes, "OnFailure" if policy == "Always" else policy)
                if runner.known.exit_code:
                    return
            async with asyncio.TaskGroup() as group:
                for runner in self._runners:
                    group.create_task(runner.run(volumes, policy))
        except* Unsupported as e:
            await self._refuse(f"the test kubelet does not know {e.exceptions[0]}")

    async def _volumes(self) -> dict[str, Path]:
        api, claims = self._machine.api, self._machine.folder / "claims"
        while True:
            try:
                sources = await api.surely(lambda: sources_of(api, self.pod))
                made = Volumes(api, self.pod, sources, self._folder / "volumes", claims)
                return await api.surely(made.make)
            except (Missing, Refused) as e:
                for runner in self._runners:
                    runner.known.waits("ContainerCreating", str(e))
                self._changed.set()
                await asyncio.sleep(AGAIN_SECONDS)

    async def _refuse(self, message: str) -> None:
        for runner in self._runners:
            runner.known.waits("CreateContainerError", message)
        self._changed.set()
        await asyncio.Event().wait()

    async def _leave(self, living: asyncio.Task[None]) -> None:
        """End what still runs: ask first, and kill what has not ended in time."""
        self._forbid()
        running = [runner for runner in (*self._first, *self._runners) if runner.runs]
        if running and not living.done():
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self.pod["metadata"].get("deletionGracePeriodSeconds", 0)):
                    await asyncio.gather(*(runner.terminate() for runner in running))
                    await asyncio.wait({living})
        living.cancel()
        await asyncio.wait({living})

    def _forbid(self) -> None:
        for runner in (*self._first, *self._runners):
            runner.ending = True

    async def _report(self) -> None:
        while True:
            await self._say()
            await self._changed.wait()
            self._changed.clear()

    async def _say(self) -> None:
        """Tell the API server how it is."""
        async with self._saying:
            known = [each.known for each in self._runners], [each.known for each in self._first]
            status = status_of(*known, started=self._started, ip=self._ip, over=self._over)
            if self._pressed:
                why = {"reason": "TerminationByKubelet", "message": self._pressed}
                status |= {"phase": "Failed", "reason": "Evicted", "message": self._pressed}
                status["conditions"].append(condition("DisruptionTarget", True, **why))
            status["conditions"] = since_when(status["conditions"], self._conditions)
            self._conditions = status["conditions"]
            change = {"metadata": {"uid": self._uid}, "status": status}
            await self._tell(lambda path: self._machine.api.patch(f"{path}/status", change))

    async def _tell(self, call: Callable[[str], Awaitable[Object]]) -> None:
        """Make a `call` on its object by its path, as soon as the API server hears it."""
        path = path_of("pods", *key_of(self.pod))
        try:
            await self._machine.api.surely(lambda: call(path))
        except Refused as e:  # it is gone, or another of its name is there
            if e.status not in (NOT_FOUND, CONFLICT):
                raise
