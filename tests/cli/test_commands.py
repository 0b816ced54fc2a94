"""What the commands say before anything runs: help that teaches, one sentence where something is wrong."""

import json
import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from services.cli.app import COMMANDS
from services.cli.slack import build_manifest
from tests.cli.conftest import Cli

GROUPS = {"dead": ("list", "show", "replay"), "slack": ("manifest",)}
HELPS = [(name,) for name in COMMANDS] + [(group, name) for group, names in GROUPS.items() for name in names]
ESCAPE = "\x1b["


def test_the_version(cli: Cli) -> None:
    assert re.fullmatch(r"threadmill \d+\.\d+\.\d+\n", cli.ok("--version"))


def test_the_help_names_every_command_with_what_it_does(cli: Cli) -> None:
    told = cli.ok("--help")
    for name in COMMANDS:
        assert re.search(rf"\b{name} +\S+ \S+", told), f"{name} says nothing about itself"
    assert ESCAPE not in told


@pytest.mark.parametrize("command", HELPS, ids=" ".join)
def test_each_command_explains_itself_and_its_options(cli: Cli, command: tuple[str, ...]) -> None:
    told = cli.ok(*command, "-h")
    assert f"threadmill {' '.join(command)}" in told
    for option in re.findall(r"^.{0,4}(--[a-z-]+) *$", told, re.MULTILINE):
        pytest.fail(f"{option} is not explained")


def test_an_unknown_command_and_a_key_that_is_none_are_told(cli: Cli) -> None:
    assert "No such command" in cli.run("walk").stderr
    told = cli.run("transcript", "T1.C1")
    assert (told.returncode, "threadmill sessions" in " ".join(told.stderr.split())) == (2, True)


@pytest.mark.parametrize(
    ("command", "code", "sentence"),
    [
        (("send", "hello"), 1, "no threadmill dev runs in"),
        (("sessions",), 1, "no threadmill dev runs in"),
        (("nats-url",), 1, "no threadmill dev runs in"),
        (("dev", "--host", "0.0.0.0"), 1, "not a loopback address"),
        (("dev", "--repo", "nowhere/at/all"), 1, "there is no repository at"),
        (("sim", "--host", "192.168.1.1"), 1, "not a loopback address"),
        (("run", "ingress"), 2, "set SLACK_BOT_TOKEN"),
        (("run", "scheduler"), 2, "set either THREADMILL_DATA"),
        (("run", "worker"), 2, "THREADMILL_WORKER is missing"),
        (("run", "archiver"), 2, "set either THREADMILL_FOLDER or THREADMILL_BUCKET"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_what_is_wrong_is_one_sentence(cli: Cli, command: tuple[str, ...], code: int, sentence: str) -> None:
    done = cli.run(*command)
    assert (done.returncode, done.stdout) == (code, "")
    assert sentence in done.stderr
    assert done.stderr.count("\n") == 1, done.stderr


def test_a_port_that_is_taken_is_told(cli: Cli, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = cli.run("dev", "--port", port, "--data", tmp_path / "data")
    assert (done.returncode, done.stdout) == (1, "")
    told = (
        f"port {port} cannot be had (Address already in use); choose another with --port, or 0 for a free one"
    )
    assert done.stderr == f"threadmill: {told}\n"


@pytest.mark.parametrize("user", ["", "ann:hunter2@", "sEcrEt@"])
def test_a_broker_that_is_away_is_told_without_who_we_are(tmp_path: Path, user: str) -> None:
    done = Cli(tmp_path, THREADMILL_NATS_URL=f"nats://{user}127.0.0.1:1").run("sessions")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("threadmill: no broker answers at nats://127.0.0.1:1")
    assert done.stderr.count("\n") == 1


def test_decode_makes_a_message_readable_and_leaves_the_rest_alone(cli: Cli) -> None:
    assert cli.ok("decode", stdin=b'{"kind":"said","text":"a"}') == '{\n  "kind": "said",\n  "text": "a"\n}\n'
    state = json.dumps({"kind": "state-appended", "entries": '[{"role":"user"}]'})
    assert json.loads(cli.ok("decode", stdin=state.encode()))["entries"] == [{"role": "user"}]
    for strange in (b"no JSON", b"", b"[" * 5000):
        assert cli.ok("decode", stdin=strange) == strange.decode()


def test_decode_runs_once_per_message_so_it_loads_no_library_that_it_does_not_need(cli: Cli) -> None:
    program = "import sys; sys.argv = ['threadmill', 'decode']; from services.cli import main\n"
    program += "try: main()\nexcept SystemExit: print(*sorted({n.split('.')[0] for n in sys.modules}))"
    done = _python(cli, program)
    assert not {"nats", "aiohttp", "uvloop", "opentelemetry", "slack_sdk", "psutil"} & set(done.split())


def _python(cli: Cli, program: str) -> str:
    return subprocess.check_output(
        [sys.executable, "-c", program], input=b"{}", env=cli.environ, cwd=Path(__file__).parents[2]
    ).decode()


# Slack's manifest schema: https://docs.slack.dev/reference/app-manifest
MANIFEST_KEYS = {
    "display_information": {"name", "description", "background_color", "long_description"},
    "features": {"app_home", "assistant_view", "bot_user", "shortcuts", "slash_commands", "unfurl_domains"},
    "oauth_config": {"redirect_urls", "scopes", "token_management_enabled"},
    "settings": {
        "allowed_ip_address_ranges", "event_subscriptions", "interactivity", "org_deploy_enabled",
        "socket_mode_enabled", "token_rotation_enabled", "hermes_app_type", "function_runtime",
    },
}  # fmt: skip
# What each event needs: https://docs.slack.dev/reference/events
SCOPE_OF_EVENT = {
    "app_mention": "app_mentions:read",
    "message.channels": "channels:history",
    "message.groups": "groups:history",
    "message.im": "im:history",
    "reaction_added": "reactions:read",
}


def test_the_manifest_is_one_that_slack_takes(cli: Cli) -> None:
    manifest = json.loads(cli.ok("slack", "manifest", "--name", "Mill"))
    assert manifest == build_manifest("Mill")
    for section, body in manifest.items():
        assert set(body) <= MANIFEST_KEYS[section]
    assert len(manifest["display_information"]["name"]) <= 35
    assert len(manifest["display_information"]["description"]) <= 140
    scopes = set(manifest["oauth_config"]["scopes"]["bot"])
    for event in manifest["settings"]["event_subscriptions"]["bot_events"]:
        assert SCOPE_OF_EVENT.get(event, "chat:write") in scopes


def test_doctor_tells_what_is_missing_and_how_to_get_it(cli: Cli, tmp_path: Path) -> None:
    healthy = cli.run("doctor")
    assert (healthy.returncode, healthy.stderr) == (0, "")
    for what in (
        "python",
        "git",
        "nats-server",
        "claude code",
        "model",
        "data folder",
        "threadmill dev",
        "slack",
    ):
        assert what in healthy.stdout
    assert ESCAPE not in healthy.stdout
    programs = tmp_path / "programs"
    programs.mkdir()
    (programs / "git").write_text("#!/bin/sh\necho git version 2.37.9\n")
    (programs / "git").chmod(0o755)
    old = Cli(tmp_path, PATH=str(programs)).run("doctor")
    assert old.returncode == 1
    assert "install git 2.38 or newer" in old.stdout
    odd = Cli(tmp_path, SLACK_BOT_TOKEN="xapp-1", SLACK_APP_TOKEN="xapp-1").run("doctor")
    assert (odd.returncode, "SLACK_BOT_TOKEN has another form" in odd.stdout) == (1, True)
    assert "xapp-1" not in odd.stdout


def test_doctor_tells_of_a_claude_code_that_is_not_installed(cli: Cli) -> None:
    program = "import sys; sys.modules['claude_agent_sdk'] = None; sys.argv = ['threadmill', 'doctor']\n"
    told = _python(cli, program + "from services.cli import main; main()")
    (line,) = [line for line in told.splitlines() if "claude code" in line]
    assert "not found" in line
    assert "run `make sync`" in told


def test_credentials_writes_what_a_deployment_needs(cli: Cli, tmp_path: Path) -> None:
    told = cli.ok("credentials", "--out", tmp_path / "keys")
    for path in (tmp_path / "keys").iterdir():
        assert str(path) in told
        assert path.stat().st_mode & 0o077 == 0
