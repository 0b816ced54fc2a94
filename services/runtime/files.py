"""Files on the bus: each in chunks of its own subjects, `files.<name>.<chunk>`, so that rights reach down to one file."""

import re
from hashlib import sha256

from schemas.bus import FILES
from services.runtime.asking import Stored
from services.runtime.bus import Bus
from services.runtime.errors import StreamFull, TooLarge, Unavailable

# Far below the broker's maximum payload, and few enough for the largest file that anybody sends.
CHUNK_BYTES = 2**20
MOST_CHUNKS = 100
MOST_BYTES = MOST_CHUNKS * CHUNK_BYTES
CHUNKS, DIGEST = "Threadmill-Chunks", "Threadmill-Digest"
# A file whose count of chunks is none of these is none of ours.
_COUNTS = {str(count): count for count in range(1, MOST_CHUNKS + 1)}
_NAME = re.compile(r"[\w-]+([./][\w-]+)*", re.ASCII)


class Files:
    """All files. A name is tokens with `/` or `.` between them; contents are held in memory whole."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus

    async def put(self, name: str, data: bytes) -> None:
        """Store `data` under `name`. Raises `Unavailable`, and `ValueError` for what is no name or too large."""
        subject = _subject(name)
        if subject is None:
            raise ValueError(f"{name[:80]!r} is no name of a file")
        if len(data) > MOST_BYTES:
            raise ValueError(f"the file {name} has {len(data)} bytes, more than {MOST_BYTES}")
        chunks = [data[start : start + CHUNK_BYTES] for start in range(0, len(data), CHUNK_BYTES)] or [b""]
        headers = {CHUNKS: str(len(chunks)), DIGEST: sha256(data).hexdigest()}
        try:
            for number, chunk in enumerate(chunks[1:], start=1):
                await self._bus.publish_raw(f"{subject}.{number}", chunk, {})
            # The first comes last: whoever finds it finds the others.
            await self._bus.publish_raw(f"{subject}.0", chunks[0], headers)
        except (StreamFull, TooLarge) as e:
            raise Unavailable(f"the file {name} could not be stored: {e}") from e

    async def has(self, name: str) -> bool:
        """Whether there is a file called `name`. Raises `Unavailable`."""
        return await self._first(name) is not None

    async def get(self, name: str) -> bytes | None:
        """Return the file, None when there is none (any more), or what no `put` has stored. Raises `Unavailable`."""
        first = await self._first(name)
        if first is None:
            return None
        stem = first.subject.removesuffix("0")
        chunks: list[bytes] = []
        for number in range(_COUNTS.get(first.headers.get(CHUNKS, "1"), 0)):
            chunk = await self._bus.last(FILES.name, f"{stem}{number}") if number else first
            if chunk is None or len(chunk.data) > CHUNK_BYTES:
                return None
            chunks.append(chunk.data)
        data = b"".join(chunks)
        # A chunk that is gone already, or not there yet where it was asked for.
        return data if chunks and sha256(data).hexdigest() == first.headers.get(DIGEST) else None

    async def _first(self, name: str) -> Stored | None:
        subject = _subject(name)
        return await self._bus.last(FILES.name, f"{subject}.0") if subject else None


def _subject(name: str) -> str | None:
    return f"files.{name.replace('/', '.')}" if _NAME.fullmatch(name) else None
