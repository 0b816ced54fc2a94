"""Workers as real processes: what they inherit, and that nothing of them remains."""

import asyncio
import json
import os
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

import psutil
import pytest

from schemas.bus import LEASE_LIFE
from services.local.keys import local_keys
from services.runtime.issuer import Issuer
from services.scheduler import worker_files
from services.scheduler.environment import shared_settings
from services.scheduler.launcher import Exit, LaunchFailed
from services.scheduler.process_launcher import ProcessLauncher
from services.worker.lease import RENEW_SECONDS
from tests.scheduler.test_stop import until_claimed
from tests.scheduler.thread import Thread
from tests.scheduler.until import until

SLEEP = "import time; time.sleep(600)"
# Starts a process in a session of its own, whose parent then ends: only the environment tells whose it is.
LEAVES_ORPHANS = f"""
import subprocess, sys, time
middle = "import subprocess, sys; subprocess.Popen([sys.executable, '-c', {SLEEP!r}], start_new_session=True)"
subprocess.run([sys.executable, "-c", middle])
print("orphaned", flush=True)
"""
HIDES = f"""
import subprocess, sys, time
subprocess.Popen([sys.executable, "-c", {SLEEP!r}], start_new_session=True, env={{}})
print("hidden", flush=True)
time.sleep(600)
"""
DEAF = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True); time.sleep(600)"


@pytest.fixture
async def launch(tmp_path: Path) -> AsyncIterator:
    made: list[ProcessLauncher] = []

    def launcher(script: str, **more) -> ProcessLauncher:
        made.append(ProcessLauncher(tmp_path, {}, command=(sys.executable, "-c", script), **more))
        return made[-1]

    yield launcher
    for each in made:
        await each.terminate_all(0)


@pytest.fixture
def issuer(tmp_path: Path) -> Issuer:
    return Issuer.read(local_keys(tmp_path / "keys").workers)


def credentials(data: Path) -> list[Path]:
    return list(data.glob("workers/w-*.creds"))


def of_worker(name: str) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get("THREADMILL_WORKER") == name:
                found.append(process)
        except psutil.Error:
            continue
    return found


async def until_printed(data: Path, name: str, word: str) -> None:
    log = data / "workers" / f"{name}.log"
    await until(lambda: word in log.read_text())


async def test_a_worker_gets_its_agents_settings_and_no_secret_of_others(tmp_path: Path, launch) -> None:
    environ = {
        "PATH": os.environ["PATH"],
        "ANTHROPIC_API_KEY": "a",
        "AWS_REGION": "b",
        "CLAUDE_CODE_USE_VERTEX": "1",
        "SSL_CERT_FILE": "d",
        "SLACK_BOT_TOKEN": "secret",
        "THREADMILL_NATS_CREDS": "secret",
        "GITHUB_TOKEN": "secret",
        "LD_PRELOAD": "",
        "PYTHONPATH": "x",
    }
    script = "import json, os; print(json.dumps(dict(os.environ)), flush=True)"
    launcher = launch(script, environ=environ)
    name = await launcher.launch("default")
    assert await anext(aiter(launcher.exited())) == Exit(name)
    inherited = json.loads((tmp_path / "workers" / f"{name}.log").read_text())
    inherited.pop("LC_CTYPE", None)
    assert inherited == {
        "PATH": os.environ["PATH"],
        "ANTHROPIC_API_KEY": "a",
        "AWS_REGION": "b",
        "CLAUDE_CODE_USE_VERTEX": "1",
        "SSL_CERT_FILE": "d",
        "THREADMILL_WORKER": name,
        "THREADMILL_POOL": "default",
        "THREADMILL_DATA": str(tmp_path),
        "TMPDIR": str(tmp_path / "workers" / f"{name}.tmp"),
    }


async def test_a_killed_worker_takes_its_children_along_whatever_they_hide(tmp_path: Path, launch) -> None:
    launcher = launch(HIDES)
    name = await launcher.launch("default")
    await until_printed(tmp_path, name, "hidden")
    (worker,) = of_worker(name)
    (child,) = worker.children()
    assert await launcher.kill(name)
    assert not worker.is_running()
    await until(lambda: not child.is_running() or child.status() == psutil.STATUS_ZOMBIE)
    assert not launcher.workers()
    assert await anext(aiter(launcher.exited())) == Exit(name)
    assert not await launcher.kill(name)
    assert not await launcher.retire(name)


async def test_what_a_worker_leaves_behind_is_gone_before_its_exit_is_told(launch) -> None:
    launcher = launch(LEAVES_ORPHANS)
    name = await launcher.launch("default")
    assert await anext(aiter(launcher.exited())) == Exit(name)
    assert not [each for each in of_worker(name) if each.status() != psutil.STATUS_ZOMBIE]


async def test_draining_asks_first_and_kills_who_stays(tmp_path: Path, launch) -> None:
    launcher = launch(DEAF)
    name = await launcher.launch("default")
    await until_printed(tmp_path, name, "deaf")
    polite = launch(SLEEP)
    await polite.launch("default")
    before = time.monotonic()
    await polite.terminate_all(10)
    assert time.monotonic() - before < 5
    await launcher.terminate_all(0.3)
    assert not launcher.workers()
    assert not of_worker(name)


async def test_leftovers_of_an_earlier_run_are_killed_and_told(tmp_path: Path, launch) -> None:
    script = f"print('up', flush=True); {SLEEP}"
    other = ProcessLauncher(tmp_path / "other", {}, command=(sys.executable, "-c", script))
    name, stranger = await launch(script).launch("default"), await other.launch("default")
    # A process that is about to become its program shows no environment for a moment.
    await until_printed(tmp_path, name, "up")
    await until_printed(tmp_path / "other", stranger, "up")
    later = launch(SLEEP)
    await later.recover()
    assert await anext(aiter(later.exited())) == Exit(name)
    assert not [each for each in of_worker(name) if each.status() != psutil.STATUS_ZOMBIE]
    assert of_worker(stranger)
    await other.terminate_all(0)


async def test_installations_that_name_the_same_relative_folder_let_each_others_workers_be(
    tmp_path: Path, monkeypatch
) -> None:
    def installed(place: str) -> ProcessLauncher:
        (tmp_path / place).mkdir()
        monkeypatch.chdir(tmp_path / place)
        command = (sys.executable, "-c", f"print('up', flush=True); {SLEEP}")
        return ProcessLauncher(Path("data"), {}, command=command)

    one = installed("one")
    name = await one.launch("default")
    await until_printed(tmp_path / "one" / "data", name, "up")
    await installed("other").recover()
    assert of_worker(name)
    later = ProcessLauncher(tmp_path / "one" / "data", {})
    await later.recover()
    assert await anext(aiter(later.exited())) == Exit(name)
    await one.terminate_all(0)


async def test_there_are_never_more_than_so_many_log_files(tmp_path: Path, launch, monkeypatch) -> None:
    monkeypatch.setattr(worker_files, "LOG_FILES", 3)
    launcher = launch("pass")
    for _ in range(6):
        await launcher.launch("default")
        await anext(aiter(launcher.exited()))
    await launcher.terminate_all(0)
    assert len(list((tmp_path / "workers").iterdir())) == 3


async def test_a_worker_that_runs_keeps_its_log_however_long_ago_it_wrote(
    tmp_path: Path, launch, monkeypatch
) -> None:
    monkeypatch.setattr(worker_files, "LOG_FILES", 2)
    launcher = launch(SLEEP)
    oldest = await launcher.launch("default")
    for _ in range(3):
        await launcher.kill(await launcher.launch("default"))
    assert (tmp_path / "workers" / f"{oldest}.log").exists()
    assert len(list((tmp_path / "workers").glob("w-*.log"))) == 2


async def test_a_program_that_is_not_there_is_said_in_a_sentence(tmp_path: Path) -> None:
    launcher = ProcessLauncher(tmp_path, {}, command=(str(tmp_path / "nothing"),))
    with pytest.raises(LaunchFailed, match="could not be started"):
        await launcher.launch("default")


async def test_a_credential_goes_with_the_worker_that_could_not_be_started(
    tmp_path: Path, launch, issuer: Issuer, monkeypatch
) -> None:
    async def cannot(*_, **__):
        assert credentials(tmp_path)
        raise BlockingIOError("no more processes")

    monkeypatch.setattr(asyncio, "create_subprocess_exec", cannot)
    with pytest.raises(LaunchFailed, match="no more processes"):
        await launch(SLEEP, issuer=issuer).launch("default")
    assert not credentials(tmp_path)


async def test_what_a_killed_scheduler_left_behind_of_a_worker_goes(tmp_path: Path, launch) -> None:
    (room := tmp_path / "workers" / "w-0.tmp").mkdir(parents=True)
    (room / "left").touch()
    (creds := tmp_path / "workers" / "w-0.creds").touch()
    launcher = launch(SLEEP)
    await launcher.recover()
    await launcher.terminate_all(0)
    assert not creds.exists()
    assert not room.exists()


DEEP = f"""
import os
os.chdir(os.environ["TMPDIR"])
for _ in range(2000):
    os.mkdir("d")
    os.chdir("d")
os.chmod(".", 0o500)
print("deep", flush=True)
{SLEEP}
"""


async def test_what_a_worker_leaves_in_its_temporary_folder_goes_however_deep_it_is(
    tmp_path: Path, launch
) -> None:
    launcher = launch(DEEP)
    name = await launcher.launch("default")
    await until_printed(tmp_path, name, "deep")
    assert (tmp_path / "workers" / f"{name}.tmp" / "d").is_dir()
    await launcher.kill(name)
    assert await anext(aiter(launcher.exited())) == Exit(name)
    await launcher.terminate_all(0)
    assert [each.name for each in (tmp_path / "workers").iterdir()] == [f"{name}.log"]


async def test_a_killed_process_is_replaced_and_its_turn_goes_on(tmp_path, bus, broker, scheduler) -> None:
    launcher = worker_processes(tmp_path, broker)
    await scheduler(launcher)
    thread = Thread(bus)
    end = await thread.ended(await thread.say("die 1"), within=20)
    assert (end.outcome, end.attempt) == ("completed", 2)
    await launcher.terminate_all(0)


async def test_a_scheduler_that_starts_again_takes_up_the_turns_of_killed_leftovers(
    tmp_path, bus, broker, scheduler
) -> None:
    launcher = worker_processes(tmp_path, broker)
    first = await scheduler(launcher, warm=0)
    thread = Thread(bus)
    turn = await thread.say("hang")
    await until_claimed(thread)
    await first.crash()
    launcher = worker_processes(tmp_path, broker)
    before = time.monotonic()
    await scheduler(launcher, warm=0)
    await until_claimed(thread, 2)
    # Before the lease could have run out by itself.
    assert time.monotonic() - before < LEASE_LIFE - RENEW_SECONDS
    await thread.stop()
    end = await thread.ended(turn)
    assert (end.outcome, end.attempt) == ("cancelled", 2)
    await launcher.terminate_all(0)


def worker_processes(tmp_path: Path, broker) -> ProcessLauncher:
    environ = {"PATH": os.environ["PATH"]}
    extra = {"THREADMILL_NATS_URL": broker.url, "PYTHONPATH": str(Path.cwd())}
    command = (sys.executable, str(Path(__file__).with_name("scripted_worker.py")))
    return ProcessLauncher(tmp_path / "data", extra, environ=environ, command=command)


def test_workers_of_a_scheduler_process_share_its_settings_but_not_those_of_its_own() -> None:
    environ = {
        "THREADMILL_AGENT": "recorded",
        "THREADMILL_NATS_URL": "nats://scheduler:password@x",
        "THREADMILL_NATS_CA": "/ca",
        "THREADMILL_NATS_CREDS": "/creds",
        "THREADMILL_NATS_NKEY_SEED": "/seed",
        "THREADMILL_NATS_TLS_CERT": "/cert",
        "THREADMILL_NATS_TLS_KEY": "/key",
        "THREADMILL_SIGNING_KEY": "/key",
        "THREADMILL_SCHEDULER_WARM": "2",
        "THREADMILL_HEALTH_PORT": "8081",
        "SLACK_BOT_TOKEN": "xoxb-1",
    }
    assert shared_settings(environ, environ["THREADMILL_NATS_URL"]) == {
        "THREADMILL_AGENT": "recorded",
        "THREADMILL_NATS_URL": "nats://x",
        "THREADMILL_NATS_CA": "/ca",
    }


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("nats://token@x:4222", "nats://x:4222"),
        ("name:pass@word@x:4222", "x:4222"),
        ("nats://127.0.0.1:4222", "nats://127.0.0.1:4222"),
    ],
)
def test_workers_are_told_where_the_broker_is_and_not_as_whom_the_scheduler_comes(
    url: str, shown: str
) -> None:
    assert shared_settings({}, url) == {"THREADMILL_NATS_URL": shown}
