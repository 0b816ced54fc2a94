"""The trace that what we publish belongs to: W3C headers, passed on as they came; spans are made in `tracing` alone."""

from collections.abc import Iterator, Mapping, MutableMapping
from contextlib import contextmanager
from contextvars import ContextVar

NAMES = ("traceparent", "tracestate")

_current: ContextVar[Mapping[str, str]] = ContextVar("trace")


@contextmanager
def within(headers: Mapping[str, str]) -> Iterator[None]:
    """Run the body, and every task that it begins, in the span that `headers` name."""
    token = _current.set({name: headers[name] for name in NAMES if name in headers})
    try:
        yield
    finally:
        _current.reset(token)


def inject(headers: MutableMapping[str, str]) -> None:
    """Add the current span's to `headers`."""
    headers.update(_current.get({}))
