"""Settings from the environment: filled, or refused with every problem at once."""

import string
from pathlib import Path
from typing import Annotated, Literal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.runtime.errors import SettingsError
from services.runtime.lifecycle import ProcessSettings, ServiceSettings
from services.runtime.settings import load, names


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    turns: Annotated[int, msgspec.Meta(ge=1)] = 5
    window: float = 900.0

    def __post_init__(self) -> None:
        if self.window < self.turns:
            raise ValueError("a window must be longer than one second a turn")


class Everything(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    count: int
    on: bool = False
    form: Literal["json", "text"] = "json"
    token: Annotated[str | None, msgspec.Meta(extra={"env": "SLACK_TOKEN"})] = None
    folder: Path | None = None
    channels: tuple[str, ...] = ()
    roots: tuple[Path, ...] = ()
    ports: tuple[int, ...] = ()
    limits: Limits = Limits()


def test_every_kind_of_field_is_filled() -> None:
    environ = {
        "THREADMILL_NAME": "mill",
        "THREADMILL_COUNT": "3",
        "THREADMILL_ON": "true",
        "THREADMILL_FORM": "text",
        "SLACK_TOKEN": "xoxb-1",
        "THREADMILL_FOLDER": "/data",
        "THREADMILL_CHANNELS": "C1, C2,,C3 ",
        "THREADMILL_ROOTS": "/a,/b",
        "THREADMILL_PORTS": "80,443",
        "THREADMILL_LIMITS_TURNS": "7",
        "HOME": "/root",
    }
    assert load(Everything, environ, strict=True) == Everything(
        name="mill",
        count=3,
        on=True,
        form="text",
        token="xoxb-1",
        folder=Path("/data"),
        channels=("C1", "C2", "C3"),
        roots=(Path("/a"), Path("/b")),
        ports=(80, 443),
        limits=Limits(turns=7),
    )


def test_a_process_that_is_to_be_strict_starts_with_nothing_that_is_no_setting() -> None:
    typo = {"THREADMILL_LOG_LEVL": "DEBUG", "THREADMILL_NATS_URLS": "nats://there"}
    assert load(ProcessSettings, typo) == ProcessSettings()
    with pytest.raises(SettingsError, match=r"LOG_LEVL is not a setting; .*NATS_URLS is not a setting"):
        load(ProcessSettings, typo | {"THREADMILL_STRICT": "true"})


def test_all_problems_are_told_at_once() -> None:
    environ = {
        "THREADMILL_COUNT": "many",
        "THREADMILL_FORM": "xml",
        "THREADMILL_PORTS": "80,http",
        "THREADMILL_LIMITS_TURNS": "0",
        "THREADMILL_CHANELS": "C1",
    }
    with pytest.raises(SettingsError) as refused:
        load(Everything, environ, strict=True)
    sentence = str(refused.value)
    for name in (*environ, "THREADMILL_NAME is missing", "THREADMILL_CHANELS is not a setting"):
        assert name in sentence
    assert "\n" not in sentence


def test_without_strict_a_variable_of_somebody_else_is_no_problem() -> None:
    environ = {"THREADMILL_NAME": "a", "THREADMILL_COUNT": "1", "THREADMILL_WORKER": "w-1"}
    assert load(Everything, environ).name == "a"


def test_an_empty_variable_is_an_absent_one() -> None:
    environ = {"THREADMILL_NAME": "a", "THREADMILL_COUNT": "1", "THREADMILL_FOLDER": "", "SLACK_TOKEN": ""}
    loaded = load(Everything, environ)
    assert (loaded.folder, loaded.token) == (None, None)


def test_what_a_struct_refuses_as_a_whole_is_a_settings_error_too() -> None:
    environ = {"THREADMILL_NAME": "a", "THREADMILL_COUNT": "1", "THREADMILL_LIMITS_WINDOW": "1"}
    with pytest.raises(SettingsError, match="longer than one second a turn"):
        load(Everything, environ)


def test_another_prefix_reads_other_variables() -> None:
    assert load(Limits, {"A_TURNS": "2", "THREADMILL_TURNS": "3"}, prefix="A_").turns == 2


def test_the_names_are_all_that_is_read() -> None:
    assert names(Everything) == sorted(
        [
            *(f"THREADMILL_{name}" for name in ("NAME", "COUNT", "ON", "FORM", "FOLDER")),
            *("THREADMILL_CHANNELS", "THREADMILL_ROOTS", "THREADMILL_PORTS"),
            *("THREADMILL_LIMITS_TURNS", "THREADMILL_LIMITS_WINDOW", "SLACK_TOKEN"),
        ]
    )


@given(st.dictionaries(st.sampled_from([*names(Everything), "THREADMILL_ELSE"]), st.text(max_size=20)))
def test_whatever_the_environment_holds_it_is_settings_or_one_sentence(environ: dict[str, str]) -> None:
    try:
        loaded = load(Everything, environ, strict=True)
    except SettingsError as e:
        sentence = str(e)
    else:
        sentence = ""
        assert loaded.name == environ["THREADMILL_NAME"]
    assert not sentence or sentence.startswith("these settings cannot be used: ")


WORD = st.text(string.ascii_letters + string.digits + "-_./:", min_size=1)


@given(
    name=WORD,
    count=st.integers(-(2**63), 2**63 - 1),
    on=st.booleans(),
    channels=st.lists(WORD, max_size=4).map(tuple),
    turns=st.integers(1, 800),
)
def test_what_is_written_is_what_is_read(
    name: str, count: int, *, on: bool, channels: tuple[str, ...], turns: int
) -> None:
    environ = {
        "THREADMILL_NAME": name,
        "THREADMILL_COUNT": str(count),
        "THREADMILL_ON": str(on).lower(),
        "THREADMILL_CHANNELS": ",".join(channels),
        "THREADMILL_LIMITS_TURNS": str(turns),
    }
    assert load(Everything, environ, strict=True) == Everything(
        name=name, count=count, on=on, channels=channels, limits=Limits(turns=turns)
    )


@pytest.mark.parametrize("setting", [("HEALTH_PORT", "70000"), ("HEALTH_PORT", "-1"), ("NATS_REPLICAS", "0")])
def test_what_no_port_and_no_number_of_replicas_can_be_is_refused(setting: tuple[str, str]) -> None:
    name, value = f"THREADMILL_{setting[0]}", setting[1]
    with pytest.raises(SettingsError, match=name):
        load(ServiceSettings, {name: value})
