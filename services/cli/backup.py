"""`backup` and `restore`: everything that the broker keeps, into files and back."""

import importlib.metadata
import secrets
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
import uvloop

from schemas.bus import AUDIT, DEADLETTER, FILES, SESSIONS
from schemas.operations import EVERY_TEAM, Audited
from schemas.rights import ADMINISTERING
from services.cli.backup_folder import BackupError, Folder, Kept, Manifest, Writing
from services.cli.judging import size
from services.cli.place import Data, connected, operator
from services.cli.words import err, fail, out
from services.runtime.audit import audit
from services.runtime.bus import Bus
from services.runtime.errors import Unavailable
from services.runtime.snapshots import Taken, put_back, take
from services.runtime.topology import stream_configs

# Taken last, in this order. A memory that is behind the log catches up, one ahead of it takes what is new for old;
# and a file is stored before the message that names it.
LAST = (SESSIONS.name, FILES.name, DEADLETTER.name, AUDIT.name)
# Which backup a stream was restored from, among the words that the broker keeps with it.
RESTORED_FROM = "threadmill.backup"

Place = Annotated[Path, typer.Argument(metavar="DIR", help="The folder of the backup.")]


def backup(folder: Place, data: Data = None) -> None:
    """Write everything that the broker keeps into a new folder, while the system runs.

    The archive is not in it: it lies in its own store.
    """
    place = Folder(folder)
    try:
        place.begin()
        manifest = uvloop.run(_backup(place, data))
    except (BackupError, OSError) as e:
        fail(str(e))
    total = sum(kept.bytes for kept in manifest.streams)
    out.print(
        f"{len(manifest.streams)} streams, {size(total)}, in {place.path}", soft_wrap=True, markup=False
    )


def in_order(names: Sequence[str]) -> list[str]:
    """Return the streams in the order in which they are taken. Pure."""
    return sorted(names, key=lambda name: LAST.index(name) if name in LAST else -1)


async def _backup(place: Folder, data: Path | None) -> Manifest:
    backup_id = secrets.token_hex(8)
    names = in_order([wanted["name"] for wanted in stream_configs(1)])
    async with connected(data) as bus:
        for name in names:
            if "error" in await bus.api(f"STREAM.INFO.{name}", None):
                fail(f"{name} is missing on the broker; start a service first, which makes it")
        await _audit(bus, backup_id)
        kept = [await _keep(bus, place, name) for name in names]
    release = importlib.metadata.version("threadmill")
    manifest = Manifest(id=backup_id, release=release, streams=tuple(kept))
    place.finish(manifest)
    return manifest


async def _audit(bus: Bus, backup_id: str) -> None:
    """What everybody said leaves the broker: that is in the trail, and in its copy, before it does."""
    exported = Audited(
        team=EVERY_TEAM, who=operator(), did="exported", session="", detail=f"backup {backup_id}"
    )
    await audit(bus, exported, once=backup_id)


async def _keep(bus: Bus, place: Folder, name: str) -> Kept:
    with place.create(name) as file, err.status(name) as status:
        writing = Writing(file)

        def keep(chunk: bytes) -> None:
            writing.keep(chunk)
            status.update(f"{name}: {size(writing.bytes)}")

        kept = writing.finish(await take(bus, name, keep))
    _tell(kept, "kept")
    return kept


def restore(folder: Place, data: Data = None) -> None:
    """Put everything that a backup holds into a broker that is empty, before any service starts.

    A stream that holds something is never overwritten. One that was cut off is run again and goes on where it was.
    """
    place = Folder(folder)
    try:
        restored = uvloop.run(_restore(place, place.manifest(), data))
    except BackupError as e:
        fail(str(e))
    out.print(f"{restored} streams are restored; now start the services")


async def _restore(place: Folder, manifest: Manifest, data: Path | None) -> int:
    async with connected(data, ADMINISTERING) as bus:
        todo = [kept for kept in manifest.streams if await _is_to_do(bus, kept, manifest.id)]
        for done, kept in enumerate(todo):
            try:
                await _put(bus, place, kept, manifest.id)
            except Unavailable as e:
                raise BackupError(
                    f"{e}; {done} of {len(todo)} streams are restored: start no service, remove the cause and"
                    " run this again"
                ) from e
    return len(manifest.streams)


async def _is_to_do(bus: Bus, kept: Kept, backup_id: str) -> bool:
    info = await bus.api(f"STREAM.INFO.{kept.name}", None)
    if "error" in info:
        return True
    if (info["config"].get("metadata") or {}).get(RESTORED_FROM) == backup_id:
        _tell(kept, "was restored before")
        return False
    if messages := info["state"]["messages"]:
        raise BackupError(
            f"{kept.name} on this broker holds {messages:,} messages, and nothing was changed; restore into an"
            f" empty broker, or, if they may go, stop the services and remove it as admin: nats stream rm {kept.name}"
        )
    return True


async def _put(bus: Bus, place: Folder, kept: Kept, backup_id: str) -> None:
    words = (kept.taken.config.get("metadata") or {}) | {RESTORED_FROM: backup_id}
    config = kept.taken.config | {"num_replicas": bus.replicas, "metadata": words}
    with err.status(f"{kept.name}: {size(kept.bytes)}"):
        if await _is_to_do(bus, kept, backup_id):  # still
            await bus.api(f"STREAM.DELETE.{kept.name}", None)  # an empty one, if there is one
        await put_back(bus, Taken(config=config, state=kept.taken.state), place.chunks(kept))
    _tell(kept, "restored")


def _tell(kept: Kept, what: str) -> None:
    err.print(f"{kept.name}: {kept.messages:,} messages, {size(kept.bytes)} {what}", soft_wrap=True)
