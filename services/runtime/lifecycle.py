"""The life of a process of ours: settings, log, its event loop, an end that says why."""

import gc
import os
import sys
from collections.abc import Callable, Coroutine
from typing import Annotated, Any, Literal

import msgspec

from services.runtime.connection import BusSettings
from services.runtime.errors import SettingsError, Unavailable
from services.runtime.log import configure_logging
from services.runtime.redact import Redaction, secrets_in

Endpoint = Annotated[str | None, msgspec.Meta(extra={"env": "OTEL_EXPORTER_OTLP_ENDPOINT"})]
Level = Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"]
Port = Annotated[int, msgspec.Meta(ge=0, le=65535)]


class ProcessSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What every process is told.

    `strict` refuses variables of ours that are no settings, as in a Pod, which is given nobody else's.
    """

    nats: BusSettings = BusSettings()
    strict: bool = False
    log_form: Literal["json", "text"] = "json"
    log_level: Level = "INFO"


class ServiceSettings(ProcessSettings, frozen=True, kw_only=True):
    """What every service is told. `health_port` 0 serves no health page."""

    health_host: str = "0.0.0.0"  # noqa: S104 (probes and scrapers come from outside the pod)
    health_port: Port = 8080
    otlp_endpoint: Endpoint = None


def main(
    name: str,
    settings: Callable[[], ProcessSettings],
    start: Callable[[], Coroutine[Any, Any, None]],
    run: Callable[[Coroutine[Any, Any, None]], None],
) -> None:
    """Run one process of ours on the event loop of `run`.

    A wrong setting is one line and exit code 2, a broker lost for good 1.
    """
    try:
        loaded = settings()
        known = Redaction(secrets_in(os.environ))
        configure_logging(name, form=loaded.log_form, level=loaded.log_level, redaction=known)
        os.umask(0o077)
        # What is loaded by now stays: no search for garbage goes through it again.
        gc.freeze()
        gc.enable()
        run(start())
    except (SettingsError, Unavailable) as e:
        sys.stderr.write(f"threadmill {name}: {e}\n")
        raise SystemExit(2 if isinstance(e, SettingsError) else 1) from None
