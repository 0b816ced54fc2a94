"""Logs: one JSON object a line on standard error, for machines; readable lines where a person watches.

No credential is written: neither what looks like one, nor a secret value that the process was given.
"""

import json
import logging
import sys
import traceback
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any, Literal

import msgspec
import structlog

from services.runtime.redact import SHAPES, Redaction


def configure_logging(
    service: str,
    *,
    form: Literal["json", "text"] = "json",
    level: str = "INFO",
    redaction: Redaction = SHAPES,
) -> None:
    """Set up logging for this process; everything names its service, and nothing that `redaction` knows is written."""
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info if form == "json" else _keep,
            *_renderers(form, redaction),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        logger_factory=structlog.PrintLoggerFactory(file=sys.stderr),
        cache_logger_on_first_use=False,
    )
    structlog.contextvars.bind_contextvars(service=service)
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Formatter(redaction))
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    sys.excepthook = _last_words(redaction)


class _Formatter(logging.Formatter):
    """What libraries log, redacted with its tracebacks."""

    def __init__(self, redaction: Redaction) -> None:
        super().__init__("%(name)s: %(message)s")
        self._redaction = redaction

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        return self._redaction.text(super().format(record))


def _last_words(redaction: Redaction) -> Callable[..., None]:
    def tell(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        sys.stderr.write(redaction.text("".join(traceback.format_exception(kind, error, trace))))

    return tell


def _keep(_: Any, __: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    return event


def _renderers(form: Literal["json", "text"], redaction: Redaction) -> list[structlog.typing.Processor]:
    if form == "text":
        return [structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty()), lambda *of: redaction.text(of[2])]

    # Text by text: a credential that has no end must not swallow the rest of a line that is to be JSON.
    def line(event: Mapping[str, Any], **_: Any) -> str:
        return _line(redaction.json(json.loads(_line(event))))

    return [structlog.processors.JSONRenderer(serializer=line)]


def _line(event: Mapping[str, Any]) -> str:
    try:
        return msgspec.json.encode(event, enc_hook=_words).decode()
    except (TypeError, ValueError, RecursionError):  # half a character, a key that is no text, a circle
        return json.dumps({name: _words(value) for name, value in event.items()})


def _words(thing: object) -> str:
    try:
        return str(thing)
    except Exception:  # a log line never ends its service
        return f"<{type(thing).__name__}>"
