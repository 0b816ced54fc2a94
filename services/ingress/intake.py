"""From a payload to its answer: stored first, then acknowledged; whatever cannot be stored now is asked for again."""

import asyncio
import time
from collections.abc import Callable
from http import HTTPStatus

import msgspec
import structlog

from schemas.keys import InvalidKey
from services.ingress import core, presses
from services.ingress.access import Rules
from services.ingress.buttons import InvalidButton
from services.ingress.decisions import Decision, Ignore, Refuse, Show, Store
from services.ingress.events import Challenge, read_event
from services.ingress.interactions import read_press
from services.ingress.metrics import ANSWERS, DECISIONS
from services.ingress.notices import Notices
from services.ingress.payload import InvalidPayload, UnknownPayload
from services.ingress.settle import Settle
from services.ingress.slack_api import Json, SlackError
from services.ingress.storing import Storing
from services.runtime.errors import StreamFull, Unavailable
from services.runtime.metrics import REFUSED

log = structlog.get_logger(__name__)

# Slack waits 3 s for its answer; the rest is for the way back.
DEADLINE = 2.3
FULL = "The store of sessions is full"
AWAY = "The store of sessions cannot be reached"
COMES_AGAIN = ", so your message is not taken yet; Slack brings it again during the next 5 minutes."
PRESS_AGAIN = ", so your press did not count; press again in a moment."

Tell = Callable[[Show], None]


class Reply(msgspec.Struct, frozen=True):
    """What the transport answers: 200 is an acknowledgement, 503 asks for another delivery."""

    status: HTTPStatus = HTTPStatus.OK
    body: Json | None = None


class Intake:
    """Takes what Slack brings, by whatever way it came. `show` tells a person a session's details."""

    def __init__(
        self, settle: Settle, storing: Storing, notices: Notices, *, rules: Rules, bot: str, show: Tell
    ) -> None:
        self._settle = settle
        self._storing = storing
        self._notices = notices
        self._rules = rules
        self._bot = bot
        self._show = show
        # A counter that appears with its first one shows no increase.
        REFUSED.labels("ingress", "nearly_full")

    async def event(self, body: bytes) -> Reply:
        """Take an event of the Events API."""
        since = time.perf_counter()
        try:
            call = read_event(body)
            if isinstance(call, Challenge):
                return Reply(body={"challenge": call.challenge})
            bot = call.bot or self._bot
            decisions = [core.decide(call, self._rules, bot, time.time())]
        except UnknownPayload as e:
            return _unknown(e)
        except (InvalidPayload, InvalidKey) as e:
            return _malformed(e)
        return await self._answer(decisions, bot, since)

    async def interaction(self, body: bytes) -> Reply:
        """Take what somebody pressed."""
        since = time.perf_counter()
        try:
            decisions = presses.decide(read_press(body), self._rules, time.time())
        except UnknownPayload as e:
            return _unknown(e)
        except (InvalidPayload, InvalidKey, InvalidButton) as e:
            return _malformed(e)
        return await self._answer(decisions, self._bot, since)

    async def _answer(self, decisions: list[Decision], bot: str, since: float) -> Reply:
        replies = [await self._carry_out(decision, bot) for decision in decisions]
        reply = max(replies, key=lambda one: one.status, default=Reply())
        ANSWERS.labels(str(reply.status.value)).observe(time.perf_counter() - since)
        return reply

    async def _carry_out(self, decision: Decision, bot: str) -> Reply:
        match decision:
            case Store():
                return await self._store(decision, bot)
            case Show():
                self._refuse_or_show(decision)
            case Refuse():
                self._refuse(decision)
            case Ignore():
                DECISIONS.labels("ignored", decision.reason).inc()
        return Reply()

    async def _store(self, store: Store, bot: str) -> Reply:
        try:
            async with asyncio.timeout(DEADLINE):
                settled = await self._settle.settle(store, bot)
                if not isinstance(settled, Store):
                    log.debug("not stored", session=str(store.key), id=store.id, reason=settled.reason)
                    return await self._carry_out(settled, bot)
                refused = await self._storing.store(settled)
        except StreamFull as e:
            return self._not_now(store, "full", FULL, e)
        except (Unavailable, SlackError, TimeoutError) as e:
            return self._not_now(store, "unavailable", AWAY, e)
        if refused:
            self._refuse(refused)
        else:
            DECISIONS.labels("stored", settled.message.kind()).inc()
        return Reply()

    def _refuse_or_show(self, show: Show) -> None:
        if show.refusal:
            self._refuse(Refuse(reason="access", sentence=show.refusal, place=show.place, id=show.id))
        else:
            self._show(show)

    def _refuse(self, refused: Refuse) -> None:
        REFUSED.labels("ingress", refused.reason).inc()
        DECISIONS.labels("refused", refused.reason).inc()
        self._notices.tell(
            refused.place, refused.sentence, f"{refused.place.channel}/{refused.id}/{refused.reason}"
        )

    def _not_now(self, store: Store, reason: str, problem: str, error: Exception) -> Reply:
        DECISIONS.labels("postponed", reason).inc()
        log.warning("not stored", session=str(store.key), id=store.id, reason=reason, error=str(error))
        if not store.only_in_session:
            sentence = problem + (PRESS_AGAIN if store.pressed else COMES_AGAIN)
            self._notices.tell(store.place, sentence, f"{store.place.channel}/{store.id}/{reason}")
        return Reply(HTTPStatus.SERVICE_UNAVAILABLE, {"error": f"not stored, bring it again: {reason}"})


def _unknown(error: UnknownPayload) -> Reply:
    DECISIONS.labels("ignored", "unknown_type").inc()
    log.debug("unknown type", type=str(error)[:80])
    return Reply()


def _malformed(error: Exception) -> Reply:
    REFUSED.labels("ingress", "malformed").inc()
    return Reply(HTTPStatus.BAD_REQUEST, {"error": str(error)})
