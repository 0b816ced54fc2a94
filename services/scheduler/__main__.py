"""`python -m services.scheduler`: a scheduler process, its workers processes on this machine or Jobs of its cluster."""

import contextlib
import os
from collections.abc import AsyncIterator, Callable
from functools import partial
from pathlib import Path

import msgspec

from schemas.credentials import Secrets
from services.runtime.bus import Bus
from services.runtime.connection import BusSettings
from services.runtime.errors import SettingsError, Unavailable
from services.runtime.health import Readiness
from services.runtime.issuer import Issuer
from services.runtime.lifecycle import ServiceSettings
from services.runtime.service import Service, main, serve_until_told
from services.runtime.settings import load
from services.scheduler.app import wire
from services.scheduler.credentials import Gate
from services.scheduler.environment import anonymous, shared_settings
from services.scheduler.launcher import Launcher
from services.scheduler.process_launcher import ProcessLauncher
from services.scheduler.secrets import read_secrets
from services.scheduler.settings import SchedulerSettings


class SchedulerProcess(ServiceSettings, frozen=True, kw_only=True):
    """A scheduler process of its own.

    With `data` its workers are processes on this machine, and keep their files there. With `pools` they are Jobs, as that
    file tells, of `worker_image` where it names none; `cluster` is the folder of this process's ServiceAccount, and
    `secrets` that of what sessions need: a file each.

    `signing_key` signs the workers' credentials; without one they connect as anybody does, which no Job may, and no worker
    of a scheduler that says who it is.
    """

    data: Path | None = None
    pools: Path | None = None
    worker_image: str = ""
    cluster: Path = Path("/var/run/secrets/kubernetes.io/serviceaccount")
    secrets: Path | None = None
    signing_key: Path | None = None
    scheduler: SchedulerSettings = SchedulerSettings()


class Staffing(msgspec.Struct, frozen=True):
    """How workers are launched, and how they come in."""

    launcher: Launcher
    gate: Gate | None = None
    secrets: Callable[[], Secrets] = Secrets


def settings() -> SchedulerProcess:
    """Return the settings in the environment. Raises `SettingsError`."""
    loaded = load(SchedulerProcess, os.environ)
    if (loaded.data is None) == (loaded.pools is None):
        raise SettingsError(
            "the workers need one place: set either THREADMILL_DATA (processes on this machine, their files in that folder)"
            " or THREADMILL_POOLS (Jobs of the cluster, as that file tells)"
        )
    if (_is_known(loaded.nats) or loaded.pools) and not loaded.signing_key:
        raise SettingsError(
            "THREADMILL_SIGNING_KEY is missing: in a cluster, and where the scheduler says who it is (nats.creds,"
            " nats.nkey_seed, nats.tls_cert, a user in nats.url), workers need credentials of their own, and it signs them;"
            " `threadmill credentials` writes one"
        )
    return loaded


def _is_known(nats: BusSettings) -> bool:
    return bool(nats.creds or nats.nkey_seed or nats.tls_cert or anonymous(nats.url) != nats.url)


@contextlib.asynccontextmanager
async def staffed(loaded: SchedulerProcess, issuer: Issuer | None) -> AsyncIterator[Staffing]:
    """Have what launches workers for the body. Raises `SettingsError`."""
    if loaded.pools is None:
        assert loaded.data is not None
        extra = shared_settings(os.environ, loaded.nats.url)
        yield Staffing(ProcessLauncher(loaded.data, extra, issuer=issuer))
        return
    from services.scheduler.jobs.staffing import jobs_in  # noqa: PLC0415 (a scheduler on a laptop needs none of it)

    async with jobs_in(loaded.pools, loaded.worker_image, loaded.cluster, loaded.scheduler.pool) as jobs:
        yield Staffing(jobs.launcher, jobs.gate, _secrets_in(loaded.secrets) if loaded.secrets else Secrets)


def _secrets_in(folder: Path) -> Callable[[], Secrets]:
    try:
        read_secrets(folder)
    except Unavailable as e:
        raise SettingsError(f"THREADMILL_SECRETS: {e}") from e
    return partial(read_secrets, folder)


async def start() -> None:
    """Run until told to stop."""
    loaded = settings()
    issuer = Issuer.read(loaded.signing_key) if loaded.signing_key else None
    async with staffed(loaded, issuer) as staffing:

        async def wired(bus: Bus, readiness: Readiness) -> Service:
            return await wire(
                bus,
                readiness,
                loaded.scheduler,
                staffing.launcher,
                issuer,
                gate=staffing.gate,
                secrets=staffing.secrets,
            )

        await serve_until_told("scheduler", loaded, wired, pools=(loaded.scheduler.pool,))


if __name__ == "__main__":
    main("scheduler", settings, start)
