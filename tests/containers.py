"""Broker and object store in containers, of images made here from the installed binaries: no registry is asked."""

import asyncio
import contextlib
import gc
import shutil
import socket
import time
import warnings
from collections.abc import Iterator
from pathlib import Path

import docker
import docker.errors
import pytest
from testcontainers.core.container import DockerContainer
from testcontainers.core.image import DockerImage

from services.local.broker import START_SECONDS, Broker, nats_server
from services.local.broker import _config as config_of
from tests.ports import free_port

DOCKERFILE = 'FROM scratch\nCOPY program /program\nENTRYPOINT ["/program"]\n'


def require_engine() -> None:
    """Skip, and say why, where no container engine answers."""
    why = ""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # the client forgets its socket where nobody answers
        try:
            with contextlib.closing(docker.from_env(timeout=20)) as engine:
                engine.ping()
        except docker.errors.DockerException as e:
            why = str(e)
        gc.collect()
    if why:
        pytest.skip(f"--containers needs a container engine (DOCKER_HOST): {why}")


@contextlib.contextmanager
def image_of(program: Path, folder: Path) -> Iterator[str]:
    """Yield the name of an image that holds `program` and nothing else; it is built in `folder`."""
    (folder / "Dockerfile").write_text(DOCKERFILE)
    shutil.copy2(program, folder / "program")
    with DockerImage(path=folder, tag=f"threadmill-test-{folder.name.lower()}:latest") as image:
        yield str(image)


@contextlib.contextmanager
def broker_image(folder: Path) -> Iterator[str]:
    """Yield the name of an image of the nats-server of this environment."""
    with image_of(Path(nats_server()), folder) as image:
        yield image


@contextlib.contextmanager
def object_store(program: Path, options: list[str], port: int, folder: Path) -> Iterator[None]:
    """Run the object store `program` in a container on the host's network until the body ends."""
    require_engine()
    with image_of(program, folder) as image:
        container = DockerContainer(image).with_kwargs(network_mode="host").with_command(" ".join(options))
        with container:
            await_port(port)
            yield


def await_port(port: int) -> None:
    """Return once something listens on `port`. Raises `TimeoutError`."""
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.02)
    raise TimeoutError(f"the container does not listen on {port}")


class ContainerBroker(Broker):
    """As `Broker`, in a container on the host's network, its store in a folder of the host."""

    def __init__(self, data: Path, image: str) -> None:
        super().__init__(data)
        self._image = image
        self._container: DockerContainer | None = None

    @property
    def pid(self) -> int:
        assert self._container is not None
        state = self._container.get_wrapped_container()
        state.reload()
        return int(state.attrs["State"]["Pid"])

    async def start(self) -> None:
        if self.port == -1:
            self.port = free_port()
        self._data.mkdir(parents=True, exist_ok=True, mode=0o700)
        (self._data / "nats.conf").write_text(config_of(self._data, self._data, self.port))
        await asyncio.to_thread(self._run)

    def _run(self) -> None:
        self._container = (
            DockerContainer(self._image)
            .with_kwargs(network_mode="host")
            .with_volume_mapping(str(self._data), str(self._data), "rw")
            .with_command(f"-c {self._data / 'nats.conf'}")
        )
        self._container.start()
        await_port(self.port)

    async def stop(self) -> None:
        await self._end("SIGTERM")

    async def kill(self) -> None:
        await self._end("SIGKILL")

    async def _end(self, signal: str) -> None:
        if self._container is not None:
            await asyncio.to_thread(self._end_now, self._container, signal)
            self._container = None

    @staticmethod
    def _end_now(container: DockerContainer, signal: str) -> None:
        running = container.get_wrapped_container()
        with contextlib.suppress(docker.errors.APIError):  # it may have ended
            running.kill(signal)
        running.wait(timeout=30)
        container.stop()
