"""One container of a Pod: what it is told, and its process, run again as the Pod's policy says."""

import asyncio
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tests.kubernetes.kubelet.environment import Missing, command_of, environment_of
from tests.kubernetes.kubelet.images import Layout
from tests.kubernetes.kubelet.machine import Machine
from tests.kubernetes.kubelet.probes import Probes
from tests.kubernetes.kubelet.process import NotStarted, Process, last_words
from tests.kubernetes.kubelet.rewriting import (
    TOKEN_FOLDER,
    at_home,
    connected,
    located,
    mentioned,
    told_ports,
    with_ports,
)
from tests.kubernetes.kubelet.status import KILLED, Container
from tests.kubernetes.kubelet.volumes import Unsupported, mount, sources_of

Object = Mapping[str, Any]
AGAIN_SECONDS = 0.3
# A real kubelet begins with ten seconds and ends with five minutes.
BACK_OFF_SECONDS, MOST_BACK_OFF_SECONDS = 0.5, 10.0
NOT_STARTED = 128


class Runner:
    """Runs the container `spec` of `pod`; `changed` is called whenever there is news of it in `known`."""

    def __init__(
        self, spec: Object, pod: Object, machine: Machine, folder: Path, changed: Callable[[], None]
    ) -> None:
        self.spec = spec
        self.known = Container(spec["name"], spec["image"])
        # Set when the Pod ends: whatever ends from then on is not run again.
        self.ending = False
        self._pod = pod
        self._machine = machine
        self._root = folder / spec["name"]
        self._changed = changed
        self._process: Process | None = None
        self._reason = ""

    @property
    def runs(self) -> bool:
        return self._process is not None

    async def run(self, volumes: Mapping[str, Path], policy: str) -> None:
        """Run it until it is not to be run again; whoever cancels this kills it."""
        delay = BACK_OFF_SECONDS
        while True:
            await self._once(volumes)
            again = policy == "Always" or (policy == "OnFailure" and self.known.exit_code != 0)
            if self.ending or not again:
                return
            self._wait(
                "CrashLoopBackOff", f"back-off {delay:g}s restarting failed container={self.spec['name']}"
            )
            await asyncio.sleep(delay)
            if self.ending:
                return
            self.known.restarts += 1
            delay = min(2 * delay, MOST_BACK_OFF_SECONDS)

    async def terminate(self) -> None:
        """Ask it to end, after what its Pod wants to come before."""
        before = ((self.spec.get("lifecycle") or {}).get("preStop") or {"sleep": {"seconds": 0}}).get("sleep")
        if before is None:
            raise Unsupported("a preStop other than sleep")
        await asyncio.sleep(before["seconds"])
        if self._process:
            self._process.terminate()

    def kill(self, reason: str) -> None:
        """Kill it as the kernel does, for `reason`."""
        self._reason = reason
        if self._process:
            self._process.kill()

    def freeze(self) -> None:
        """Let it do nothing more; only `kill` ends it."""
        if self._process:
            self._process.freeze()

    async def _once(self, volumes: Mapping[str, Path]) -> None:
        await self._pull()
        command, environ = await self._told(volumes)
        ports = self._machine.network.ports_of(self._pod)
        probes = Probes(self.spec, self.known, ports, self._machine.probing, self._changed)
        log = self._log()
        try:
            self._process = await Process.start(command, environ, self._cwd(), log)
        except NotStarted as e:
            self.known.ended(NOT_STARTED, "StartError", str(e))
        else:
            await self._attend(self._process, probes, log)
        self._changed()

    async def _attend(self, process: Process, probes: Probes, log: Path) -> None:
        self._reason, code = "", KILLED
        self.known.runs()
        self._changed()
        probing = asyncio.create_task(self._probe(process, probes))
        try:
            code = await process.wait()
        finally:
            self._process = None
            probing.cancel()
            told = code != 0 and self.spec.get("terminationMessagePolicy") == "FallbackToLogsOnError"
            self.known.ended(code, self._reason, last_words(log) if told else "")

    async def _probe(self, process: Process, probes: Probes) -> None:
        await probes.run()
        if not self.ending:
            process.terminate()
            await asyncio.sleep(self._pod["spec"].get("terminationGracePeriodSeconds", 30))
            process.kill()

    async def _pull(self) -> None:
        image, images = self.spec["image"], self._machine.images
        while complaint := images.complaint(image):
            mended = asyncio.ensure_future(images.mended())
            self._wait("ErrImagePull", complaint)
            await asyncio.wait({mended}, timeout=AGAIN_SECONDS)
            self._wait("ImagePullBackOff", f'Back-off pulling image "{image}": ErrImagePull: {complaint}')
            await mended

    async def _told(self, volumes: Mapping[str, Path]) -> tuple[list[str], dict[str, str]]:
        """Return command and environment; waits until all that they name is there."""
        while True:
            try:
                return await self._words(volumes)
            except Missing as e:
                self._wait("CreateContainerConfigError", str(e))
                await asyncio.sleep(AGAIN_SECONDS)

    async def _words(self, volumes: Mapping[str, Path]) -> tuple[list[str], dict[str, str]]:
        machine, spec, namespace = self._machine, self.spec, self._pod["metadata"]["namespace"]
        sources = await machine.api.surely(lambda: sources_of(machine.api, self._pod))
        mounts, ports = mount(spec, volumes, self._root), machine.network.ports_of(self._pod)
        own = environment_of(spec, self._pod, sources)
        words = command_of(spec, own)
        named = (mentioned(each, namespace) for each in (*own.values(), *words))
        reached = await machine.network.reach(set().union(*named))

        def here(value: str) -> str:
            return at_home(connected(located(value, mounts, self._root), namespace, reached), ports)

        image = machine.images.of(spec["image"])
        environ = {**machine.environ(self._pod["metadata"]["name"]), **image.environ}
        environ |= {name: here(value) for name, value in own.items()} | told_ports(spec, ports)
        if TOKEN_FOLDER in mounts:
            environ["THREADMILL_CLUSTER"] = f"{self._root}{TOKEN_FOLDER}"
        command = with_ports([here(each) for each in words], ports)
        return image.adapted(command, Layout(self._root, tuple(mounts), ports)), environ

    def _wait(self, reason: str, message: str) -> None:
        self.known.waits(reason, message)
        self._changed()

    def _cwd(self) -> Path:
        chosen = self.spec.get("workingDir")
        return self._root / chosen.strip("/") if chosen else self._machine.begin

    def _log(self) -> Path:
        metadata, name = self._pod["metadata"], self.spec["name"]
        pod = f"{metadata['namespace']}.{metadata['name']}.{metadata['uid']}"
        return self._machine.log(pod, f"{name}.{self.known.restarts}")
