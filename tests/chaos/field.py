"""Everything that runs in a campaign, and by which lines it talks."""

import json
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import msgspec

from schemas.rights import CLIENTS
from services.archiver import gcs
from services.local.keys import Keys, made
from services.runtime.tether import tethered
from tests.chaos import fleet
from tests.chaos.broken import MISTAKES
from tests.chaos.brokers import CAMPAIGN, Nodes
from tests.chaos.fleet import Program
from tests.chaos.line import Line
from tests.chaos.slack import CLAUDE_CHANNELS
from tests.messages_api import MessagesApi
from tests.object_store import options_for, program, url_of
from tests.ports import free_port

BUCKET = "campaign"
RECORDING = Path(__file__).with_name("recording.jsonl")
SERVICES = ("ingress", "scheduler", "archiver")


class Setup(msgspec.Struct, frozen=True, kw_only=True):
    """How large it is, what goes wrong, and which build runs.

    Seconds for all times. `say_every` is between two things said in one thread, `strike_every` between two faults, of
    those kinds only that contain a word of `only`; `crash` is the share of lives with a crash point. The archive is
    `in_folder` or a bucket. After `settle` everything has to be as it should; `pick_up` says whether every session is
    gone on with then. The last replica of each service is of the version in `beside`, where that is given.
    """

    seed: int
    nodes: int = 3
    replicas: int = 2
    sessions: int = 16
    claude: int = 2
    turns: int = 6
    window: float = 60.0
    idle: float = 20.0
    turn: int = 60
    crash: float = 0.3
    say_every: float = 9.0
    strike_every: float = 2.0
    settle: float = 60.0
    only: tuple[str, ...] = ("",)
    pick_up: bool = True
    broken: str = ""
    socket_mode: bool = True
    in_folder: bool = False
    beside: Path | None = None


@dataclass
class Field:
    """What runs. `lines` are those of the services to the broker; `store` and `slack` the others."""

    folder: Path
    setup: Setup
    nodes: Nodes
    keys: Keys
    services: dict[str, list[Program]]
    lines: dict[str, Line]
    store: Line
    door: Line
    slack: str
    slack_program: Program
    gcs: str
    repo: Path
    ready: Mapping[str, str]

    @property
    def programs(self) -> list[Program]:
        return [each for replicas in self.services.values() for each in replicas]

    @property
    def calm(self) -> Path:
        """The file that ends the crash points."""
        return self.folder / "calm"

    @property
    def full(self) -> Path:
        """The file that fills the archive's disk."""
        return self.folder / "full"

    def workers(self) -> list[Any]:
        return fleet.workers(str(self.folder))

    def agents(self) -> list[Any]:
        return fleet.agents(str(self.folder))

    async def is_ready(self, name: str) -> bool:
        try:
            async with (
                aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=2)) as http,
                http.get(self.ready[name]) as answer,
            ):
                return answer.status == 200
        except (aiohttp.ClientError, TimeoutError):
            return False


@asynccontextmanager
async def running(folder: Path, setup: Setup) -> AsyncIterator[Field]:
    """Run everything; whatever is left at the end is killed, and the caller has looked for it before."""
    async with AsyncExitStack() as stack:
        model = await stack.enter_async_context(MessagesApi())
        field = await _built(folder, setup, model.url, stack)
        await field.nodes.start()
        for program_ in field.programs:
            await program_.start()
        try:
            yield field
        finally:
            for program_ in [*field.programs, field.slack_program, *field.nodes.programs]:
                await program_.stop()
            for left in fleet.marked(str(folder)):
                left.kill()


async def _built(folder: Path, setup: Setup, model: str, stack: AsyncExitStack) -> Field:
    repo = _repository(folder / "repo.git")
    keys = made(folder / "keys", (*CLIENTS, CAMPAIGN))
    nodes = Nodes(folder, setup.nodes, keys)
    store_url = await _object_store(folder, stack)
    store = await _line("store", [int(store_url.rpartition(":")[2])], stack)
    doors = [free_port() for _ in range(setup.replicas)]
    door = await _line("slack to ingress", doors, stack)
    slack, told = await _slack(folder, f"http://127.0.0.1:{door.port}")
    names = [f"{service}-{place}" for service in SERVICES for place in range(setup.replicas)]
    lines = {name: await _line(name, nodes.ports, stack) for name in [*names, "workers"]}
    health = {name: free_port() for name in names}
    shared = _shared(folder, setup, lines["workers"].port)
    credentials = dict(told["credentials"])
    if not setup.socket_mode:
        del credentials["SLACK_APP_TOKEN"]
    own: dict[str, dict[str, str]] = {}
    for place in range(setup.replicas):
        own[f"ingress-{place}"] = credentials | {
            "THREADMILL_SLACK_API_URL": f"{told['url']}/api/",
            "THREADMILL_LOG_LEVEL": "DEBUG",
            "THREADMILL_HTTP_HOST": "127.0.0.1",
            "THREADMILL_HTTP_PORT": str(doors[place]),
        }
        own[f"archiver-{place}"] = _archiver(folder, setup, store.port)
        signing = {"THREADMILL_SIGNING_KEY": str(keys.workers)}
        own[f"scheduler-{place}"] = signing | _scheduler(folder / f"machine-{place}", setup, repo, model)
    own["ingress-0"]["THREADMILL_CHAOS_BATCHES"] = "yes"
    for name, environ in own.items():
        environ["THREADMILL_NATS_CREDS"] = str(keys.of(name.rpartition("-")[0]))
    services = {
        service: [
            _service(folder, setup, service, place, shared | own[f"{service}-{place}"], lines, health)
            for place in range(setup.replicas)
        ]
        for service in SERVICES
    }
    _break(services, setup.broken)
    ready = {name: f"http://127.0.0.1:{port}/readyz" for name, port in health.items()}
    return Field(
        folder, setup, nodes, keys, services, lines, store, door, told["url"], slack, store_url, repo, ready
    )


def _shared(folder: Path, setup: Setup, workers_port: int) -> dict[str, str]:
    return {
        "HOME": str(folder),
        "LANG": "C.UTF-8",
        "THREADMILL_NATS_REPLICAS": str(setup.nodes),
        "THREADMILL_HEALTH_HOST": "127.0.0.1",
        "THREADMILL_LOG_FORM": "text",
        "THREADMILL_CHAOS_CALM": str(folder / "calm"),
        "THREADMILL_CHAOS_CRASH": str(setup.crash),
        "THREADMILL_CHAOS_WORKER_NATS_URL": f"nats://127.0.0.1:{workers_port}",
        "THREADMILL_CHAOS_CLAUDE_CHANNELS": ",".join(CLAUDE_CHANNELS),
    }


def _archiver(folder: Path, setup: Setup, store: int) -> dict[str, str]:
    bucket = {"THREADMILL_BUCKET": BUCKET, "THREADMILL_GCS_ENDPOINT": f"http://127.0.0.1:{store}"}
    place = {"THREADMILL_FOLDER": str(folder / "archive")} if setup.in_folder else bucket
    return {**place, "THREADMILL_FLUSH_SECONDS": "5", "THREADMILL_CHAOS_FULL": str(folder / "full")}


def _scheduler(machine: Path, setup: Setup, repo: Path, model: str) -> dict[str, str]:
    return {
        "THREADMILL_DATA": str(machine),
        "THREADMILL_REPO": str(repo),
        "THREADMILL_AGENT": "recorded",
        "THREADMILL_RECORDING": str(RECORDING),
        "THREADMILL_PERMISSION_MODE": "sandboxed",
        "THREADMILL_IDLE_SECONDS": str(setup.idle),
        "THREADMILL_SCHEDULER_TURNS_PER_WINDOW": str(setup.turns),
        "THREADMILL_SCHEDULER_WINDOW_SECONDS": str(setup.window),
        "THREADMILL_SCHEDULER_TURN_SECONDS": str(setup.turn),
        "THREADMILL_SCHEDULER_MAX_WORKERS": str(setup.sessions),
        "THREADMILL_SCHEDULER_WARM": "1",
        "THREADMILL_SCHEDULER_LAUNCH_TIMEOUT": "20",
        "ANTHROPIC_API_KEY": "stub",
        "ANTHROPIC_BASE_URL": model,
        "IS_SANDBOX": "1",
    }


def _service(
    folder: Path,
    setup: Setup,
    service: str,
    place: int,
    environ: Mapping[str, str],
    lines: Mapping[str, Line],
    health: Mapping[str, int],
) -> Program:
    name, last = f"{service}-{place}", place == setup.replicas - 1
    return Program(
        name=name,
        command=tethered([sys.executable, "-m", "tests.chaos.program", service]),
        environ={
            **environ,
            "THREADMILL_NATS_URL": f"nats://127.0.0.1:{lines[name].port}",
            "THREADMILL_HEALTH_PORT": str(health[name]),
        },
        log=folder / f"{name}.log",
        code=setup.beside if setup.beside and last else fleet.ROOT,
    )


def _break(services: Mapping[str, list[Program]], broken: str) -> None:
    if broken:
        service = MISTAKES[broken].service
        # A scheduler hands its settings to its workers.
        for each in services["scheduler" if service == "worker" else service]:
            each.environ["THREADMILL_CHAOS_BROKEN"] = broken


async def _line(name: str, upstreams: list[int], stack: AsyncExitStack) -> Line:
    line = Line(name, upstreams)
    await line.start()
    stack.push_async_callback(line.stop)
    return line


async def _slack(folder: Path, ingress: str) -> tuple[Program, dict[str, Any]]:
    slack = Program(
        name="slack",
        command=tethered([sys.executable, "-m", "tests.chaos.slack", str(folder), ingress]),
        environ={},
        log=folder / "slack.log",
    )
    await slack.start()
    told = folder / "slack.json"

    async def is_there() -> bool:
        return told.exists()

    if not await fleet.eventually(is_there, 30):
        raise RuntimeError(f"the simulator does not start; see {folder / 'slack.log'}")
    return slack, json.loads(told.read_text())


async def _object_store(folder: Path, stack: AsyncExitStack) -> str:
    port = free_port()
    store = Program(
        name="store",
        command=tethered([str(program()), *options_for(port)]),
        environ={},
        log=folder / "store.log",
    )
    await store.start()
    stack.push_async_callback(store.stop)
    await fleet.listening(port)
    with closing(gcs.connect(url_of(port))) as client:
        client.create_bucket(BUCKET)
    return url_of(port)


def _repository(path: Path) -> Path:
    """A bare repository with one commit, as every session's work begins from."""
    author = ["-c", "user.name=Ada", "-c", "user.email=ada@example.com"]
    seed = path.with_name("seed")
    for command in (
        ["git", "init", "--quiet", "--initial-branch=main", str(seed)],
        ["git", "-C", str(seed), *author, "commit", "--quiet", "--allow-empty", "-m", "Begin"],
        ["git", "clone", "--quiet", "--bare", str(seed), str(path)],
    ):
        subprocess.run(command, check=True, capture_output=True)
    return path
