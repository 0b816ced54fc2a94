"""Collects the evidence: from the broker, Slack's stand-in, the object store, and the repository."""

import gzip
import json
import subprocess
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from schemas.base import HEADER_ID
from schemas.buckets import RateWindow
from schemas.bus import RATELIMITS
from services.archiver import gcs
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


def archive(url: str, bucket: str) -> list[Archived]:
    """Return every record of the bucket, objects in the order of their names, read without the archiver's code."""
    records: list[Archived] = []
    with closing(gcs.connect(url)) as client:
        for blob in sorted(client.list_blobs(bucket, prefix="v1/"), key=lambda blob: str(blob.name)):
            if blob.name.endswith(".jsonl.gz"):
                _, team, channel, thread, _ = blob.name.split("/")
                for line in gzip.decompress(blob.download_as_bytes()).splitlines():
                    told = json.loads(line)
                    records.append(
                        Archived(f"{team}.{channel}.{thread}", blob.name, told["seq"], told["payload"])
                    )
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
    """Write log and threads into `folder`, for whoever looks for a cause."""
    folder.mkdir()
    (folder / "log.jsonl").write_bytes(msgspec.json.Encoder().encode_lines(evidence.log))
    (folder / "threads.json").write_bytes(msgspec.json.encode(evidence.threads))


def reachable(repo: Path) -> dict[str, set[str]]:
    """Return the commits of each branch."""

    def git(*arguments: str) -> list[str]:
        told = subprocess.run(
            ["git", "-C", str(repo), *arguments], capture_output=True, text=True, check=True
        )
        return told.stdout.split()

    branches = git("for-each-ref", "--format=%(refname:short)", "refs/heads")
    return {branch: set(git("rev-list", f"refs/heads/{branch}")) for branch in branches}
