"""Files that people attach: from Slack onto the bus, under a name that can be told before they are there."""

import asyncio
import contextlib
from collections.abc import Sequence

import structlog

from schemas.keys import SessionKey, token
from schemas.people import File
from services.ingress.behind import Behind
from services.ingress.bounded import Bounded
from services.ingress.events import SlackFile
from services.ingress.slack_api import SlackApi, SlackError
from services.runtime.errors import Unavailable
from services.runtime.files import Files

log = structlog.get_logger(__name__)

MOST_NAME = 255
# Whole files are held in memory: so many at a time.
AT_ONCE = 4
# Seconds before each try; the worker waits less than all of them together.
WAITS = (0.0, 0.5, 1.0, 2.0, 4.0, 8.0, 15.0, 30.0)
MOST_REMEMBERED = 10_000


def reference(key: SessionKey, file: SlackFile) -> File:
    """Return how the input names `file`. Raises `InvalidKey`."""
    return File(
        object=f"{key}/{token(file.id)}",
        name=(file.name or file.id)[:MOST_NAME],
        media_type=file.mimetype or "application/octet-stream",
        size=file.size,
    )


def choose(files: Sequence[SlackFile], most: int, most_bytes: int) -> tuple[tuple[SlackFile, ...], str]:
    """Return the files that are taken, and a sentence about those that are not; empty when all are."""
    if not files:
        return (), ""
    problems = [_problem(file, most_bytes) for file in files]
    good = [file for file, problem in zip(files, problems, strict=True) if not problem]
    said = [problem for problem in problems if problem]
    if len(good) > most:
        said.append(
            f"only {most} files fit in one message, I left out {len(good) - most}; send them in another one"
        )
    return tuple(good[:most]), "Not all files came through: " + "; ".join(said) + "." if said else ""


def _problem(file: SlackFile, most_bytes: int) -> str:
    name = (file.name or file.id)[:MOST_NAME]
    if file.mode in {"external", "tombstone", "hidden_by_limit"}:
        return f"{name} is not kept in Slack, upload it as a file"
    if file.size > most_bytes:
        return f"{name} is larger than {most_bytes / 2**20:g} MB, make it smaller or put it in the repository"
    return ""


class Attachments:
    """Brings files over, each once; what takes longer than its message may wait goes on behind."""

    def __init__(self, api: SlackApi, files: Files, behind: Behind, most_bytes: int) -> None:
        self._api = api
        self._files = files
        self._behind = behind
        self._most_bytes = most_bytes
        self._room = asyncio.Semaphore(AT_ONCE)
        self._arrivals: Bounded[str, asyncio.Event] = Bounded(MOST_REMEMBERED)

    async def bring(self, key: SessionKey, files: Sequence[SlackFile], within: float) -> tuple[File, ...]:
        """Return the references of `files`, `within` seconds at the latest, whether or not all are there by then."""
        references = tuple(reference(key, file) for file in files)
        arrivals = [self._begin(ref.object, file) for ref, file in zip(references, files, strict=True)]
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within):
                await asyncio.gather(*(arrived.wait() for arrived in arrivals))
        return references

    def again(self, file: File) -> None:
        """Bring a file over whose input names it already."""
        id_ = file.object.rpartition("/")[2]
        self._begin(file.object, SlackFile(id=id_, name=file.name, mimetype=file.media_type, size=file.size))

    def _begin(self, name: str, file: SlackFile) -> asyncio.Event:
        arrived = self._arrivals.get(name)
        if arrived is None:
            arrived = asyncio.Event()
            self._arrivals.put(name, arrived)
            self._behind.start(self._bring(name, file, arrived), f"file {name}")
        return arrived

    async def _bring(self, name: str, file: SlackFile, arrived: asyncio.Event) -> None:
        for wait in WAITS:
            await asyncio.sleep(wait)
            try:
                async with self._room:
                    await self._files.put(name, await self._download(file))
            except (SlackError, Unavailable) as e:
                log.warning("file not brought over", file=name, error=str(e))
                if isinstance(e, SlackError) and not e.retriable:
                    break
            else:
                break
        # Whoever waits has nothing more to wait for; where the file never came, the worker says so in the thread.
        arrived.set()

    async def _download(self, file: SlackFile) -> bytes:
        url = file.url_private_download or file.url_private
        if url is None:
            info = (await self._api.ask("files.info", file=file.id)).get("file") or {}
            url = info.get("url_private_download") or info.get("url_private") or ""
        return await self._api.download(str(url), most=self._most_bytes)
