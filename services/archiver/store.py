"""The archive's object store, to await: checks what it is asked, and runs a backend on threads under a deadline."""

import asyncio
import re
import time
from collections.abc import AsyncIterator, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TypeVar

from services.archiver.backend import MAX_OBJECT, Backend, ObjectInfo, StoreError, Unavailable, Upload

_NAME_PART = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,199}")
_MAX_NAME = 1024
_PAGE = 500

T = TypeVar("T")


class Store:
    """Objects in `backend`, through at most `threads` calls at once, each answered within `deadline` seconds.

    Every call raises `Unavailable` (worth trying again) and `StoreError` (not so).
    """

    def __init__(self, backend: Backend, *, threads: int = 8, deadline: float = 30.0) -> None:
        self._backend = backend
        self._deadline = deadline
        self._executor = ThreadPoolExecutor(threads, thread_name_prefix="store")

    async def create(
        self, name: str, data: bytes, metadata: Mapping[str, str], content_type: str
    ) -> ObjectInfo:
        """Write a new object of at most `MAX_OBJECT` bytes, or find the very same one there from a try before.

        Raises `PreconditionFailed` when a different object has the name.
        """
        return await self.replace(name, data, metadata, None, content_type)

    async def replace(
        self,
        name: str,
        data: bytes,
        metadata: Mapping[str, str],
        generation: int | None,
        content_type: str = "application/json",
    ) -> ObjectInfo:
        """Write over `generation` of an object, None where there must be none yet. Raises `PreconditionFailed`."""
        _check_name(name)
        if len(data) > MAX_OBJECT:
            raise StoreError(f"{name} has {len(data)} bytes, more than {MAX_OBJECT}; write several objects")
        upload = Upload(
            name=name,
            data=data,
            metadata=dict(metadata),
            content_type=content_type,
            expected=generation or 0,
        )
        return await self._run(partial(self._backend.put, upload))

    async def read(self, name: str) -> bytes:
        """Return the bytes after checking their CRC32C. Raises `Missing` and `Corrupt`."""
        _check_name(name)
        return await self._run(partial(self._backend.read, name))

    async def list(self, prefix: str, start_after: str | None = None) -> AsyncIterator[ObjectInfo]:
        """Yield the objects whose names begin with `prefix` and sort after `start_after`, in byte order of names."""
        _check_prefix(prefix)
        after = start_after or ""
        while True:
            page = await self._run(partial(self._backend.page, prefix, after, _PAGE))
            for info in page:
                yield info
            if len(page) < _PAGE:
                return
            after = page[-1].name

    async def delete_all_generations(self, name: str) -> int:
        """Delete every version of an object and return their number, 0 if there was none. Safe to repeat."""
        _check_name(name)
        return await self._run(partial(self._backend.delete, name))

    async def soft_delete_days(self) -> float | None:
        """For how many days the store keeps what was deleted; None where deleted is gone."""
        return await self._run(self._backend.soft_delete_days)

    async def close(self) -> None:
        """Take no more calls and wait for those that run, which end by their own time limits."""
        await asyncio.to_thread(self._executor.shutdown, cancel_futures=True)
        self._backend.close()

    async def _run(self, call: Callable[[float], T]) -> T:
        """Run `call` until the deadline, which covers waiting for a thread; past it, it may still happen."""
        until = time.monotonic() + self._deadline
        try:
            async with asyncio.timeout(self._deadline):
                return await asyncio.wrap_future(self._executor.submit(call, until))
        except TimeoutError as e:
            raise Unavailable(f"The object store gave no answer in {self._deadline:g} s; try again") from e


def _check_name(name: str) -> None:
    if len(name) > _MAX_NAME or not all(_NAME_PART.fullmatch(part) for part in name.split("/")):
        raise StoreError(
            f"{name[:80]!r} is no object name; use letters, digits, '_', '-' and '.' between slashes"
        )


def _check_prefix(prefix: str) -> None:
    if prefix:
        _check_name(prefix.removesuffix("/"))
