"""Each image, built and run for real: as nobody, without a capability, on a root that cannot be written to."""

import contextlib
import os
import re
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.images.engine import ALLOWED, IMAGES, ROOT, SUMS, UNPRIVILEGED, Dockerfile, Engine, name

pytestmark = [pytest.mark.timeout(2400), pytest.mark.xdist_group("images")]
SERVICES = ("ingress", "scheduler", "archiver")
READY_SECONDS = 60
LOOK = (
    "import os, pathlib\n"
    "print(os.getuid(), os.getgid(), os.access('/', os.W_OK), os.access('/opt/threadmill', os.W_OK))\n"
    "print(*[line.split()[1] for line in pathlib.Path('/proc/self/status').read_text().splitlines()"
    " if line.startswith(('CapPrm', 'CapBnd'))])"
)
# How a service without settings says what it lacks, and that it cannot be helped by starting it again.
MISSING = {
    "ingress": "SLACK_BOT_TOKEN",
    "scheduler": "THREADMILL_DATA",
    "archiver": "THREADMILL_BUCKET",
    "worker": "THREADMILL_WORKER",
}


@pytest.mark.parametrize("image", IMAGES)
def test_it_runs_as_nobody_in_particular(engine: Engine, image: str) -> None:
    assert engine.about(image)["User"] == "10001:10001"
    looked = engine.run(image, "python", "-c", LOOK)
    user, capabilities = looked.out.splitlines()
    assert user == "10001 10001 False False"
    assert set(capabilities.split()) == {"0000000000000000"}


@pytest.mark.parametrize("image", MISSING)
def test_it_refuses_to_start_without_settings_in_one_sentence(engine: Engine, image: str) -> None:
    ended = engine.run(image)
    assert ended.code == 2
    (sentence,) = ended.err.strip().splitlines()
    assert sentence.startswith(f"threadmill {image}: ")
    assert MISSING[image] in sentence


@pytest.mark.parametrize("image", SERVICES)
@pytest.mark.parametrize("program", ["sh", "bash", "apt-get", "dpkg", "perl", "pip", "gcc", "curl"])
def test_a_service_has_no_tool_that_it_does_not_need(engine: Engine, image: str, program: str) -> None:
    found = engine.run(
        image,
        "python",
        "-c",
        f"import shutil; print(shutil.which({program!r}, path='/bin:/usr/bin:/usr/local/bin:/opt/threadmill/bin'))",
    )
    assert found.out.strip() == "None"


@pytest.mark.parametrize("image", SERVICES)
def test_a_service_has_no_way_to_install(engine: Engine, image: str) -> None:
    assert "No module named pip" in engine.run(image, "python", "-m", "pip").err


@pytest.mark.parametrize("image", SERVICES)
def test_a_service_finds_certificates_names_and_the_time(engine: Engine, image: str) -> None:
    script = (
        "import ssl, socket, pwd, sqlite3, uuid, ctypes, asyncio, zlib, lzma, bz2, hashlib\n"
        "print(len(ssl.create_default_context().get_ca_certs()) > 50, socket.gethostbyname('localhost'),"
        " pwd.getpwuid(10001).pw_name)"
    )
    assert engine.run(image, "python", "-c", script).out.split() == ["True", "127.0.0.1", "threadmill"]


@pytest.mark.parametrize("image", [*SERVICES, "worker"])
def test_every_module_of_a_service_finds_its_libraries(engine: Engine, image: str) -> None:
    script = (
        f"import importlib, pkgutil, services.{image} as service\n"
        "names = [each.name for each in pkgutil.walk_packages(service.__path__, service.__name__ + '.')]\n"
        "print(len([importlib.import_module(name) for name in names if not name.endswith('__main__')]))"
    )
    ended = engine.run(image, "python", "-W", "error", "-c", script)
    assert ended.code == 0, ended.err
    assert int(ended.out) > 10


@pytest.mark.parametrize("image", SERVICES)
def test_a_scanner_finds_out_which_packages_a_service_is_made_of(engine: Engine, image: str) -> None:
    script = "import os; print(*os.listdir('/var/lib/dpkg/status.d'), open('/etc/os-release').read())"
    listed = engine.run(image, "python", "-c", script).out.split()
    assert {"libc6", "libssl3", "zlib1g", "ID=debian"} <= set(listed)


def test_without_the_right_claude_code_there_is_no_image(engine: Engine, tmp_path: Path) -> None:
    copied = tmp_path / "context"
    copied.mkdir()
    for each in ("Dockerfile", ".dockerignore", *ALLOWED):
        copy = shutil.copytree if (ROOT / each).is_dir() else shutil.copy
        copy(ROOT / each, copied / each)
    sums = copied / "requirements" / "claude-code.sha256"
    sums.write_text(re.sub(r"^[0-9a-f]{64}", "0" * 64, sums.read_text(), flags=re.MULTILINE))
    arguments = [
        f"--build-arg={name}={os.environ[name]}" for name in Dockerfile().bases if os.environ.get(name)
    ]
    built = engine.call("build", "--target=worker", *arguments, str(copied), timeout=1200, check=False)
    assert built.returncode
    assert "FAILED" in built.stdout + built.stderr


@pytest.mark.parametrize("image", IMAGES)
def test_the_command_line_is_there(engine: Engine, image: str) -> None:
    assert engine.run(image, "threadmill", "--version").out.startswith("threadmill ")


@pytest.mark.parametrize("image", ["worker", "all-in-one"])
@pytest.mark.parametrize("tool", ["git", "node", "npm", "rg", "jq", "curl", "uv", "gcc", "make", "pip"])
def test_an_agent_finds_its_tools(engine: Engine, image: str, tool: str) -> None:
    ended = engine.run(image, tool, "--version")
    assert ended.code == 0, ended.err


@pytest.mark.parametrize("image", ["worker", "all-in-one"])
def test_an_agents_python_has_pip_and_none_of_our_libraries(engine: Engine, image: str) -> None:
    shown = (
        "import os, subprocess; from services.worker.settings import agent_environment;"
        " subprocess.run(['python3', '-c', 'import importlib.util as u; print(*map(u.find_spec, (\"pip\", \"nats\")))'],"
        " env=agent_environment(os.environ))"
    )
    found = engine.run(image, "python", "-c", shown).out
    assert found.startswith("ModuleSpec(name='pip'")
    assert found.strip().endswith("None")


@pytest.mark.parametrize("image", ["worker", "all-in-one"])
def test_claude_code_is_the_one_that_was_checked(engine: Engine, image: str) -> None:
    told = engine.run(image, "claude", "--version").out.strip()
    assert f"version {told.removesuffix(' (Claude Code)')}\n" in SUMS.read_text()


@contextlib.contextmanager
def running(engine: Engine, image: str, *options: str) -> Iterator[str]:
    """Run the image by itself until the body ends; yield the container."""
    started = engine.call("run", "--detach", *UNPRIVILEGED, *options, name(image))
    container = started.stdout.strip()
    try:
        yield container
    finally:
        engine.call("stop", "--time=20", container)
        engine.call("rm", "--force", "--volumes", container)


def test_all_in_one_answers_with_the_simulator(engine: Engine) -> None:
    with running(engine, "all-in-one") as container:
        deadline = time.monotonic() + READY_SECONDS
        asked = ["exec", container, "curl", "--fail", "--silent", "http://127.0.0.1:8700/readyz"]
        while engine.call(*asked, check=False).returncode:
            assert time.monotonic() < deadline, engine.call("logs", container).stderr
            time.sleep(0.5)
        said = engine.call("exec", container, "threadmill", "send", "hello", timeout=120)
        assert said.returncode == 0
        assert "ready http://127.0.0.1:8700/" in engine.call("logs", container).stdout
