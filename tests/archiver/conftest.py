"""A folder and a bucket to store in. The bucket is one of a real HTTP object store, a new one for each test."""

import asyncio
import uuid
from contextlib import closing

import pytest

from services.archiver import gcs
from services.archiver.folder import Folder
from services.archiver.store import Store
from tests.object_store import emulator, options_for, program, url_of
from tests.ports import free_port


@pytest.fixture(scope="session")
def gcs_url(request, tmp_path_factory):
    if request.config.getoption("--containers"):
        from tests import containers  # noqa: PLC0415 (only who asks for containers needs their client)

        port = free_port()
        with containers.object_store(
            program(), options_for(port), port, tmp_path_factory.mktemp("gcs-image")
        ):
            yield url_of(port)
        return
    with emulator(tmp_path_factory.mktemp("gcs") / "log") as url:
        yield url


@pytest.fixture
def bucket(gcs_url):
    name = f"bucket-{uuid.uuid4().hex}"
    with closing(gcs.connect(gcs_url)) as client:
        client.create_bucket(name)
    return name


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "objects"


@pytest.fixture(params=["folder", "gcs"])
def make_store(request):
    """Makes stores that share one place, as several archivers do."""
    if request.param == "folder":
        root = request.getfixturevalue("folder")
        return lambda **options: Store(Folder(root), **options)
    url, name = request.getfixturevalue("gcs_url"), request.getfixturevalue("bucket")
    return lambda **options: Store(gcs.Bucket(gcs.connect(url), name), **options)


@pytest.fixture
async def store(make_store):
    store = make_store()
    yield store
    await store.close()


@pytest.fixture
async def tunnel(gcs_url):
    """A way to the bucket that can lose answers."""
    tunnel = Tunnel(gcs_url)
    yield tunnel
    await tunnel.close()


class Tunnel:
    """Passes bytes on both ways; while `losing` is above 0, an answer is read, thrown away, and the line cut."""

    def __init__(self, url):
        self._port = int(url.rpartition(":")[2])
        self._lines = {}
        self.losing = 0
        self.lost = 0
        self.requests = b""

    async def open(self):
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def close(self):
        self._server.close()
        for writer in self._lines.values():
            writer.close()
        await asyncio.gather(*self._lines)

    async def _serve(self, reader, writer):
        self._lines[asyncio.current_task()] = writer
        onward_reader, onward_writer = await asyncio.open_connection("127.0.0.1", self._port)
        forward = asyncio.create_task(self._forward(reader, onward_writer))
        while answer := await onward_reader.read(65536):
            if self.losing:
                self.losing -= 1
                self.lost += 1
                break
            writer.write(answer)
        writer.close()
        await forward

    async def _forward(self, reader, onward_writer):
        while request := await reader.read(65536):
            self.requests += request
            onward_writer.write(request)
        onward_writer.close()
