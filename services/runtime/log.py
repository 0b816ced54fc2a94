"""Logs: one JSON object a line on standard error, for machines; readable lines where a person watches."""

import json
import logging
import sys
from collections.abc import Mapping
from typing import Any, Literal

import msgspec
import structlog


def configure_logging(service: str, *, form: Literal["json", "text"] = "json", level: str = "INFO") -> None:
    """Set up logging for this process; everything names its service."""
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info if form == "json" else _keep,
            _renderer(form),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        logger_factory=structlog.PrintLoggerFactory(file=sys.stderr),
        cache_logger_on_first_use=False,
    )
    structlog.contextvars.bind_contextvars(service=service)
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr, format="%(name)s: %(message)s")


def _keep(_: Any, __: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    return event


def _renderer(form: Literal["json", "text"]) -> structlog.typing.Processor:
    if form == "json":
        return structlog.processors.JSONRenderer(serializer=_line)
    return structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())


def _line(event: Mapping[str, Any], **_: Any) -> str:
    try:
        return msgspec.json.encode(event, enc_hook=_words).decode()
    except (TypeError, ValueError, RecursionError):  # half a character, a key that is no text, a circle
        return json.dumps({name: _words(value) for name, value in event.items()})


def _words(thing: object) -> str:
    try:
        return str(thing)
    except Exception:  # a log line never ends its service
        return f"<{type(thing).__name__}>"
