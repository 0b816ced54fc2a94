"""Log lines: one JSON object each, whatever is logged."""

import json
import logging
import sys
from typing import Any

import pytest
import structlog

from services.runtime.log import configure_logging
from services.runtime.redact import Redaction


class Opaque:
    """Something that no JSON knows, whose own words must not be needed."""

    def __repr__(self) -> str:
        raise RuntimeError("no words for it")


@pytest.fixture(autouse=True)
def restored() -> Any:
    yield
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()


def lines(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in capsys.readouterr().err.splitlines()]


def test_every_event_is_one_line_that_names_its_service(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("mill")
    structlog.get_logger().info("two\nlines", name="Grüße", session="T1.C1.1-1", count=3, path={1, 2})
    written = capsys.readouterr().err
    assert '"name":"Grüße"' in written  # as people read it, and as log processors are told to look for it
    (line,) = (json.loads(each) for each in written.splitlines())
    assert (line["event"], line["service"], line["level"]) == ("two\nlines", "mill", "info")
    assert (line["session"], line["count"], line["path"]) == ("T1.C1.1-1", 3, [1, 2])
    assert line["timestamp"].endswith("Z")


def test_an_exception_is_in_its_line_with_where_it_came_from(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("mill")
    error = OSError("the disk is gone")
    error.__cause__ = ValueError("because")
    structlog.get_logger().error("failed", exc_info=error)
    (line,) = lines(capsys)
    assert "OSError: the disk is gone" in line["exception"]
    assert "ValueError: because" in line["exception"]


@pytest.mark.parametrize(
    "thing", [Opaque(), {Opaque(): 1}, {(1, 2): Opaque()}, "\ud800", b"\xff", 2**70, float("nan")]
)
def test_nothing_that_is_logged_breaks_the_log(capsys: pytest.CaptureFixture[str], thing: object) -> None:
    configure_logging("mill")
    structlog.get_logger().warning("odd", thing=thing)
    (line,) = lines(capsys)
    assert line["event"] == "odd"


def test_less_than_the_level_is_not_written(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("mill", level="WARNING")
    structlog.get_logger().info("quiet")
    assert lines(capsys) == []


def test_where_a_person_watches_lines_are_text(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("mill", form="text")
    structlog.get_logger().info("hello", who="you")
    text = capsys.readouterr().err
    assert "hello" in text
    assert "who=you" in text


@pytest.mark.parametrize("form", ["json", "text"])
def test_no_credential_is_written_whoever_logs_it(capsys: pytest.CaptureFixture[str], form: Any) -> None:
    configure_logging("mill", form=form, redaction=Redaction(["hunter2-hunter2"]))
    error = OSError("no access with hunter2-hunter2 and " + "xoxb-" + "1234567890")
    structlog.get_logger().error("failed", url="https://me:" + "secret@host/", exc_info=error)
    logging.getLogger("library").error("it was hunter2-hunter2", exc_info=error)
    sys.excepthook(type(error), error, None)
    written = capsys.readouterr().err
    assert "no access with [redacted] and [redacted]" in written
    assert "it was [redacted]" in written
    assert not [secret for secret in ("hunter2", "xoxb", "me:") if secret in written]
