"""Requests to the scheduler: who asks, and for which session, stands in the subject, which the broker guards."""

from collections.abc import Awaitable, Callable

import structlog
from nats.aio.msg import Msg

from schemas.base import MalformedMessage, Message
from schemas.credentials import Denied
from schemas.keys import InvalidKey
from schemas.work import Admission, Admit, NotNow
from services.runtime.asking import reply
from services.runtime.bus import Bus
from services.runtime.errors import Unavailable
from services.runtime.metrics import REFUSED
from services.runtime.seldom import Seldom
from services.runtime.serving import Serving
from services.scheduler.admission import Desk

log = structlog.get_logger(__name__)

AT_ONCE = 64

# What a request's subject says after `scheduler.<request>.`, and its payload. Raises `MalformedMessage` and `InvalidKey`.
Answer = Callable[[list[str], bytes], Awaitable[Message]]


class Requests:
    """Answers what is asked on `scheduler.<name>.<places>`; what cannot be read is answered by `refusal`."""

    def __init__(
        self,
        bus: Bus,
        name: str,
        places: int,
        answer: Answer,
        refusal: Callable[[str], Message] = lambda reason: Denied(reason=reason),
    ) -> None:
        subject = ".".join(["scheduler", name, *"*" * places])
        self._name = name
        self._decide = answer
        self._refusal = refusal
        self._failures = Seldom()
        self._serving = Serving(bus.client, "scheduler", subject, self._answer, at_once=AT_ONCE)

    async def run(self) -> None:
        """Answer for ever; what cannot be answered now is left to the asker's next try."""
        await self._serving.run()

    async def _answer(self, message: Msg) -> None:
        try:
            answer = await self._decide(message.subject.split(".")[2:], message.data)
        except (MalformedMessage, InvalidKey) as e:
            REFUSED.labels("scheduler", self._name).inc()
            answer = self._refusal(f"This request cannot be read: {e}")
        except Unavailable as e:
            if self._failures.due():
                others = self._failures.others
                log.warning("a request is not answered", request=self._name, error=str(e), others=others)
            return
        except Exception:
            log.exception("a request failed", request=self._name)
            return
        await reply(message, answer)


def admissions(bus: Bus, desk: Desk) -> Requests:
    """Return the answering of `scheduler.admit`."""

    async def answer(session: list[str], payload: bytes) -> Admission | NotNow:
        request = Admit.decode(payload)
        if request.session != ".".join(session):
            raise InvalidKey("it names another session than its subject")
        return await desk.answer(request)

    return Requests(bus, "admit", 3, answer, refusal=lambda reason: Admission(admitted=False, reason=reason))
