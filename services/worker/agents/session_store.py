"""Keeps Claude Code's own conversation entries in our state store, and lays them out again before a resume."""

import asyncio
import json
from collections.abc import Iterable
from pathlib import Path
from typing import cast

from claude_agent_sdk import SessionKey, project_key_for_directory
from claude_agent_sdk.types import SessionListSubkeysKey, SessionStoreEntry

from .protocol import AgentError, Entry, StateStore

ELSEWHERE = "elsewhere/"


class ConversationEntries:
    """The SDK's `SessionStore` for one conversation, over a `StateStore`.

    The working directory in the SDK's key does not count for this conversation, so that it resumes anywhere; any other
    one is kept under a subpath of its own. Entries that could not be stored are kept and go ahead of the next ones, so
    the stored order is always the written order. After `stop` nothing waits for the store any more.
    """

    def __init__(self, store: StateStore, conversation: str) -> None:
        self._store = store
        self._conversation = conversation
        self._waiting: dict[str, list[Entry]] = {}
        self._lock = asyncio.Lock()
        self._storing: asyncio.Future[None] | None = None
        self._stored = False
        self._stopped = False

    @property
    def complete(self) -> bool:
        """Whether all that the agent wrote is stored; an agent that wrote nothing here wrote it elsewhere."""
        return self._stored and not any(self._waiting.values())

    def stop(self) -> None:
        """Let appends return at once, also one that is under way; what waits stays waiting."""
        self._stopped = True
        if self._storing is not None:
            self._storing.cancel()

    async def append(self, key: SessionKey, entries: list[SessionStoreEntry]) -> None:
        """Store `entries`; raises what the store raises, and then keeps them for the next attempt."""
        waiting = self._waiting.setdefault(self._subpath(key), [])
        known = {id(entry) for entry in waiting}  # a retry of the SDK brings the very same objects
        waiting += (cast("Entry", entry) for entry in entries if id(entry) not in known)
        await self._store_waiting(self._subpath(key))

    async def flush(self) -> None:
        """Try once more to store what waits; raises what the store raises."""
        for subpath in list(self._waiting):
            await self._store_waiting(subpath)

    async def load(self, key: SessionKey) -> list[SessionStoreEntry] | None:
        """Return the entries of `key` in order, or None when there never were any."""
        return cast("list[SessionStoreEntry] | None", await self._store.load(self._subpath(key)))

    async def list_subkeys(self, key: SessionListSubkeysKey) -> list[str]:
        """Return the subpaths of a conversation that have entries, its main one left out."""
        main = self._subpath(cast("SessionKey", key))
        names = await self._store.subpaths()
        if main:
            return sorted(name.removeprefix(f"{main}/") for name in names if name.startswith(f"{main}/"))
        return sorted(name for name in names if name and not name.startswith(ELSEWHERE))

    def _subpath(self, key: SessionKey) -> str:
        inner = key.get("subpath", "")
        if key["session_id"] == self._conversation:
            return inner
        outer = f"{ELSEWHERE}{key['project_key']}/{key['session_id']}"
        return f"{outer}/{inner}" if inner else outer

    async def _store_waiting(self, subpath: str) -> None:
        async with self._lock:
            waiting = self._waiting[subpath]
            if waiting and not self._stopped:
                batch = list(waiting)
                self._storing = storing = asyncio.ensure_future(self._store.append(subpath, batch))
                try:
                    await asyncio.wait({storing})
                finally:
                    storing.cancel()
                if not storing.cancelled():
                    storing.result()
                    del waiting[: len(batch)]
                    self._stored = True


async def lay_out(store: StateStore, conversation: str, *, config_dir: Path, cwd: Path) -> frozenset[str]:
    """Write the stored conversation where Claude Code looks for it, and return the uuids of its main entries.

    Returns an empty set when nothing is stored. What an earlier process left there is replaced. Raises `AgentError` for
    a conversation that would be written elsewhere.
    """
    main = await store.load("")
    if not main:
        return frozenset()
    folder = config_dir / "projects" / project_key_for_directory(cwd)
    for subpath in await store.subpaths():
        if not subpath.startswith(ELSEWHERE):
            file = folder / conversation / f"{subpath}.jsonl" if subpath else folder / f"{conversation}.jsonl"
            _require_inside(folder, file)
            _write_conversation(file, await store.load(subpath) or [])
    return frozenset(entry["uuid"] for entry in main if "uuid" in entry)


def _require_inside(folder: Path, file: Path) -> None:
    # The names were stored by whatever ran in the session before.
    if "\0" in str(file) or not file.resolve().is_relative_to(folder.resolve()):
        raise AgentError(
            "The agent's stored conversation leads out of its folder; begin a fresh one instead."
        )


def _write_conversation(file: Path, entries: Iterable[Entry]) -> None:
    """Write one JSONL file; a subagent's metadata goes into the sidecar that Claude Code reads it from."""
    file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with file.open("w", encoding="utf-8") as lines:
        for entry in entries:
            if entry.get("type") == "agent_metadata":
                sidecar = {name: value for name, value in entry.items() if name != "type"}
                file.with_suffix(".meta.json").write_text(json.dumps(sidecar), encoding="utf-8")
            else:
                lines.write(json.dumps(entry, separators=(",", ":")) + "\n")
