"""What is asked of the archiver over request and reply; all archivers share the requests."""

from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

import structlog
from nats.aio.msg import Msg

from schemas.archive import Refused
from schemas.base import MalformedMessage, Message
from schemas.bus import MAX_PAYLOAD
from schemas.keys import InvalidKey
from services.archiver.backend import Corrupt, StoreError
from services.archiver.backend import Unavailable as StoreUnavailable
from services.runtime.asking import reply
from services.runtime.bus import Bus
from services.runtime.counting import count_unreadable
from services.runtime.errors import Unavailable
from services.runtime.metrics import REFUSED
from services.runtime.serving import Serving

log = structlog.get_logger(__name__)

M = TypeVar("M", bound=Message)


class Requests(Generic[M]):
    """Answers the requests `kind` on `subject`, at most `at_once` beside each other."""

    def __init__(
        self,
        bus: Bus,
        subject: str,
        kind: type[M],
        answer: Callable[[M], Awaitable[Message]],
        *,
        at_once: int = 8,
    ) -> None:
        self._subject = subject
        self._kind = kind
        self._decide = answer
        self._serving = Serving(bus.client, "archiver", subject, self._answer, at_once=at_once)

    async def run(self) -> None:
        """Answer for ever."""
        await self._serving.run()

    async def _answer(self, message: Msg) -> None:
        answer = await self._reason_or_answer(message)
        if len(answer.encode()) > MAX_PAYLOAD:
            answer = Refused(reason="The answer is larger than the bus carries; ask for less")
        await reply(message, answer)

    async def _reason_or_answer(self, message: Msg) -> Message:
        try:
            request = self._kind.decode(message.data)
            if self._subject.endswith("*"):
                _require_own(request, message.subject)
            return await self._decide(request)
        except (MalformedMessage, InvalidKey) as e:
            REFUSED.labels("archiver", self._subject).inc()
            return Refused(reason=f"This request cannot be read: {e}")
        except StoreError as e:
            if isinstance(e, Corrupt):
                count_unreadable("archive")
                log.warning("the archive cannot be read", subject=message.subject, reason=str(e))
            return Refused(reason=str(e), later=_later(e))
        except Unavailable as e:
            return Refused(reason=f"The broker did not answer the archiver: {e}; ask again", later=True)
        except Exception:
            log.exception("a request failed", subject=self._subject)
            return Refused(reason="The archiver failed at this request; its log says why")


def _later(error: StoreError) -> bool | None:
    return {StoreUnavailable: True, Corrupt: False}.get(type(error))


def _require_own(request: Message, subject: str) -> None:
    """See that the request is for the session of its subject, which the broker guards. Raises `InvalidKey`."""
    if getattr(request, "session", "") != ".".join(subject.split(".")[2:]):
        raise InvalidKey("it names another session than its subject")
