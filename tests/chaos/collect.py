"""Collects the evidence: from the broker, Slack's stand-in, the object store, and the repository."""

import gzip
import json
import subprocess
from collections.abc import Iterable, Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from schemas.base import HEADER_ID
from schemas.buckets import Lease, RateWindow
from schemas.bus import LEASES, RATELIMITS
from services.archiver import gcs
from services.runtime.bucket import Bucket
from services.runtime.bus import Bus
from services.runtime.follow import Follow, read
from tests.chaos.evidence import Acknowledged, Archived, Entry, Evidence
from tests.chaos.people import Conversation


async def log(bus: Bus) -> list[Entry]:
    """Return all of SESSIONS."""
    entries = []
    for delivery in await read(bus, "SESSIONS", ["session.>"]):
        _, team, channel, thread, *leaf = delivery.subject.split(".")
        if team == "-":
            continue
        entries.append(
            Entry(
                sequence=delivery.sequence,
                session=f"{team}.{channel}.{thread}",
                leaf=".".join(leaf),
                id=delivery.headers.get(HEADER_ID, ""),
                time=datetime.fromtimestamp(delivery.timestamp, UTC),
                body=json.loads(delivery.data),
            )
        )
    return entries


async def leases(bus: Bus) -> list[str]:
    """Return the sessions that somebody holds."""
    return [entry.key for entry in await Bucket(bus, LEASES.name, Lease).entries()]


async def dead_letters(bus: Bus) -> list[str]:
    found = await read(bus, "DEADLETTER", ["dead.>"])
    return [f"{each.subject} {dict(each.headers)}" for each in found]


async def watch_windows(bus: Bus, counted: dict[str, dict[str, datetime]]) -> None:
    """Write down every turn that ever stands in somebody's window, for ever."""
    async for delivery in Follow(bus, f"KV_{RATELIMITS.name}", ["$KV.>"]).deliveries():
        if delivery is not None and delivery.data:
            window = RateWindow.decode(delivery.data)
            person = counted.setdefault(delivery.subject.rpartition(".")[2], {})
            person.update({start.turn: start.at for start in window.starts})


def in_bucket(url: str, bucket: str) -> Iterator[tuple[str, bytes]]:
    """Yield the name and content of every object of the bucket."""
    with closing(gcs.connect(url)) as client:
        for blob in client.list_blobs(bucket, prefix="v1/"):
            yield str(blob.name), blob.download_as_bytes()


def in_folder(root: Path) -> Iterator[tuple[str, bytes]]:
    """Yield the name and content of every object of the folder; what lies hidden are versions."""
    for file in root.glob("v1/*/*/*/*.jsonl.gz"):
        yield str(file.relative_to(root)), file.read_bytes()


def archive(objects: Iterable[tuple[str, bytes]]) -> list[Archived]:
    """Return every record, objects in the order of their names, read without the archiver's code."""
    records: list[Archived] = []
    for name, data in sorted(objects):
        if name.endswith(".jsonl.gz"):
            _, team, channel, thread, _ = name.split("/")
            for line in gzip.decompress(data).splitlines():
                told = json.loads(line)
                records.append(Archived(f"{team}.{channel}.{thread}", name, told["seq"], told["payload"]))
    return records


def acknowledged(file: Path, conversations: list[Conversation]) -> list[Acknowledged]:
    """Return the messages of people whose delivery was acknowledged."""
    said = {(each.channel, ts): each.root for each in conversations for ts in each.said}
    found: set[Acknowledged] = set()
    for line in file.read_text().splitlines():
        event: dict[str, Any] = json.loads(line)["event"] or {}
        place = (event.get("channel", ""), event.get("ts", ""))
        # A message that mentions the app comes as two events; what counts is the mention.
        mention = event.get("type") == "app_mention"
        if place in said and (mention or event.get("thread_ts")) and not event.get("subtype"):
            found.add(Acknowledged(channel=place[0], ts=place[1], root=said[place]))
    return sorted(found, key=lambda each: each.ts)


def keep(folder: Path, evidence: Evidence) -> None:
    """Write log, threads and rate-limit windows into `folder`, for whoever looks for a cause."""
    folder.mkdir()
    (folder / "log.jsonl").write_bytes(msgspec.json.Encoder().encode_lines(evidence.log))
    (folder / "threads.json").write_bytes(msgspec.json.encode(evidence.threads))
    (folder / "counted.json").write_bytes(msgspec.json.encode(evidence.counted))


def reachable(repo: Path) -> dict[str, set[str]]:
    """Return the commits of each branch."""

    def git(*arguments: str) -> list[str]:
        told = subprocess.run(
            ["git", "-C", str(repo), *arguments], capture_output=True, text=True, check=True
        )
        return told.stdout.split()

    branches = git("for-each-ref", "--format=%(refname:short)", "refs/heads")
    return {branch: set(git("rev-list", f"refs/heads/{branch}")) for branch in branches}
