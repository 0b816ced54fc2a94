"""The trail of what people and operators do, as a table and as lines for a SIEM."""

import getpass
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import typer

from schemas.base import now
from schemas.operations import Audited
from services.cli.audit import parsed_since, parsed_team
from services.local.broker import Broker
from services.runtime.audit import audit
from services.runtime.bus import Bus
from tests.cli.conftest import Cli, RunningDev

pytestmark = pytest.mark.xdist_group("cli-audit")

FIELDS = ["time", "team", "who", "did", "session", "detail", "id"]


def entries(cli: Cli, *arguments: str) -> list[dict[str, str]]:
    return [json.loads(line) for line in cli.ok("audit", "--json", *arguments).splitlines()]


def test_a_day_of_work_leaves_its_trail(dev: RunningDev) -> None:
    assert dev.cli.ok("audit") == "nothing was done\n"
    key = json.loads(dev.cli.ok("send", "hello", "--json"))["session"]
    dev.cli.ok("transcript", key)
    dev.cli.ok("transcript", key, "--format", "jsonl")
    tail = dev.cli.start("tail", key)
    tail.line()
    tail.stop()
    dev.cli.ok("instructions", "T1.C2", "Answer in [bold]German[/bold].")
    dev.cli.ok("instructions", "T1.C2", "--clear")
    told, here = entries(dev.cli), getpass.getuser()
    assert [(one["who"], one["did"], one["session"]) for one in told] == [
        ("U1", "started", key),
        (here, "read", key),
        (here, "exported", key),
        (here, "read", key),
        (here, "changed", "T1.C2"),
        (here, "changed", "T1.C2"),
    ]
    assert all(list(one) == FIELDS and all(isinstance(value, str) for value in one.values()) for one in told)
    assert len({one["id"] for one in told}) == 6
    assert told[4]["detail"] == "instructions: Answer in [bold]German[/bold]."
    table = dev.cli.ok("audit").splitlines()
    assert [line.split()[4] for line in table[1:]] == [here if one["who"] == here else "U1" for one in told]
    assert "[bold]German[/bold]" in table[5]


async def enter(bus: Bus, who: str, *, team: str = "T1", once: str) -> None:
    entry = Audited(team=team, who=who, did="read", session=f"{team}.C1.1-1")
    await audit(bus, entry, once=once)


@pytest.fixture
def operator_cli(broker: Broker, tmp_path: Path) -> Cli:
    return Cli(tmp_path, THREADMILL_NATS_URL=broker.url)


async def stored(bus: Bus) -> dict[str, Any]:
    info: dict[str, Any] = await bus.api("STREAM.INFO.AUDIT", None)
    return info


async def test_one_workspace_from_a_time_on(bus: Bus, operator_cli: Cli) -> None:
    await enter(bus, "ann", once="1")
    await bus.publish_raw("audit.T1.read", b"{}", {})
    await enter(bus, "bob", team="T2", once="1")
    between = now().isoformat()
    await enter(bus, "ann", team="T2", once="2")
    done = operator_cli.run("audit", "--json")
    assert [json.loads(line)["who"] for line in done.stdout.splitlines()] == ["ann", "bob", "ann"]
    assert "entry 2 cannot be read" in done.stderr
    assert [one["who"] for one in entries(operator_cli, "--team", "T2")] == ["bob", "ann"]
    assert [one["who"] for one in entries(operator_cli, "--since", between)] == ["ann"]
    assert len(entries(operator_cli, "--team", "T2", "--since", "1h")) == 2
    assert entries(operator_cli, "--team", "T3") == []


async def test_an_act_that_was_written_down_twice_is_told_once(bus: Bus, operator_cli: Cli) -> None:
    forgetful = (await stored(bus))["config"] | {"duplicate_window": 100_000_000}
    await bus.api("STREAM.UPDATE.AUDIT", forgetful)
    while (await stored(bus))["state"]["messages"] < 2:  # until the broker has forgotten the id
        await enter(bus, "ann", once="1")
    assert [one["id"] for one in entries(operator_cli)] == ["read/T1.C1.1-1/1"]


async def test_following_goes_on_with_what_happens_next(bus: Bus, operator_cli: Cli) -> None:
    await enter(bus, "ann", once="1")
    following = operator_cli.start("audit", "--follow", "--json")
    try:
        assert json.loads(following.line())["who"] == "ann"
        await enter(bus, "bob", once="2")
        assert json.loads(following.line())["who"] == "bob"
    finally:
        code, rest = following.stop()
    assert (code, rest) == (0, "")


def test_when_and_where_are_understood_or_told() -> None:
    before = now()
    assert before <= parsed_since("2h") + timedelta(hours=2) <= now()
    assert parsed_since("2026-01-31T00:00:00Z") == datetime(2026, 1, 31, tzinfo=UTC)
    for wrong in ("yesterday", "2 h", "-1d", "9" * 30 + "d"):
        with pytest.raises(typer.BadParameter, match="such as 2h or 7d"):
            parsed_since(wrong)
    with pytest.raises(typer.BadParameter, match="such as T1"):
        parsed_team("T1.>")
