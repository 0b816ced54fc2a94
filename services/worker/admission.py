"""Asking the scheduler whether a message may open a turn, beside everything else that a session hears."""

import asyncio

import structlog

from schemas.base import MalformedMessage
from schemas.keys import SessionKey
from schemas.work import ADMISSIONS, Admission, Admit, NotNow
from services.runtime.bus import Bus
from services.runtime.errors import Unavailable
from services.runtime.tasks import cancel
from services.worker.core import Waiting
from services.worker.happenings import Admitted
from services.worker.line import Line

log = structlog.get_logger(__name__)

ADMIT_SECONDS = 10.0
# Where one of us is ahead in the log, a moment later both have read the same.
AGAIN_SECONDS = 0.2


class Asker:
    """Asks for one message at a time; the answer comes down the line."""

    def __init__(self, bus: Bus, key: SessionKey, line: Line) -> None:
        self._bus = bus
        self._key = key
        self._line = line
        self._asking: asyncio.Task[None] | None = None

    @property
    def busy(self) -> bool:
        """Whether an answer is on its way."""
        return self._asking is not None

    def ask(self, opener: Waiting) -> None:
        """Ask for `opener`; `Admitted` follows."""
        self._asking = asyncio.create_task(self._ask(opener), name="admit")

    def answered(self) -> None:
        """Note that the answer has come."""
        self._asking = None

    async def stop(self) -> None:
        """Wait for no answer any more."""
        if self._asking is not None:
            await cancel(self._asking)

    async def _ask(self, opener: Waiting) -> None:
        request = Admit(session=str(self._key), turn=opener.sequence, user=opener.said.user)
        word = await self._word(request)
        if not isinstance(word, Admission):
            await asyncio.sleep(AGAIN_SECONDS)
        self._line.report(Admitted(opener.sequence, word))

    async def _word(self, request: Admit) -> Admission | NotNow | None:
        try:
            reply = await self._bus.request(request.subject(), request, deadline=ADMIT_SECONDS)
            word = ADMISSIONS.decode(reply)
        except (Unavailable, MalformedMessage) as e:
            log.warning("the scheduler does not admit yet", session=str(self._key), error=str(e))
            return None
        return word if isinstance(word, Admission | NotNow) else None
