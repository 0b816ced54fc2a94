"""From a payload to its answer: stored first, then acknowledged; whatever cannot be stored now is asked for again."""

import time
from http import HTTPStatus

import msgspec
import structlog

from schemas.inputs import Stop
from schemas.keys import InvalidKey
from services.ingress import core, presses
from services.ingress.access import Rules
from services.ingress.buttons import InvalidButton
from services.ingress.decisions import Decision, Store
from services.ingress.events import Challenge, InvalidPayload, UnknownPayload, read_event, read_press
from services.ingress.sessions import Sessions
from services.ingress.slack_api import Json, SlackError
from services.runtime.bus import Bus, Draft, Fence
from services.runtime.errors import Conflict, StreamFull, Unavailable

log = structlog.get_logger(__name__)

# Slack waits 3 s for its answer.
DEADLINE = 2.0


class Reply(msgspec.Struct, frozen=True):
    """What the transport answers: 200 is an acknowledgement, 503 asks for another delivery."""

    status: HTTPStatus = HTTPStatus.OK
    body: Json | None = None


class Intake:
    """Takes what Slack brings, by whatever way it came."""

    def __init__(self, bus: Bus, sessions: Sessions, rules: Rules, bot: str) -> None:
        self._bus = bus
        self._sessions = sessions
        self._rules = rules
        self._bot = bot

    async def event(self, body: bytes) -> Reply:
        """Take an event of the Events API."""
        try:
            call = read_event(body)
            if isinstance(call, Challenge):
                return Reply(body={"challenge": call.challenge})
            decision = core.decide(call, self._rules, call.bot or self._bot, time.time())
        except UnknownPayload:
            return Reply()
        except (InvalidPayload, InvalidKey) as e:
            return Reply(HTTPStatus.BAD_REQUEST, {"error": str(e)})
        return await self._carry_out(decision)

    async def interaction(self, body: bytes) -> Reply:
        """Take what somebody pressed."""
        try:
            decisions = presses.decide(read_press(body), self._rules, time.time())
        except UnknownPayload:
            return Reply()
        except (InvalidPayload, InvalidKey, InvalidButton) as e:
            return Reply(HTTPStatus.BAD_REQUEST, {"error": str(e)})
        replies = [await self._carry_out(decision) for decision in decisions]
        return max(replies, key=lambda reply: reply.status, default=Reply())

    async def _carry_out(self, decision: Decision) -> Reply:
        try:
            match decision:
                case Store():
                    await self._store(decision)
        except (Unavailable, SlackError, StreamFull) as e:
            return Reply(HTTPStatus.SERVICE_UNAVAILABLE, {"error": str(e)})
        return Reply()

    async def _store(self, store: Store) -> None:
        if store.only_in_session:
            if not await self._sessions.is_session(store.key, self._bot, DEADLINE):
                return
        else:
            self._sessions.remember(store.key)
        fence = None if isinstance(store.message, Stop) else Fence(0)
        draft = Draft(
            subject=store.message.subject(store.key),
            message=store.message,
            session=str(store.key),
            id=f"{store.key}/{store.id}",
            fence=fence,
        )
        try:
            await self._bus.publish(draft, deadline=DEADLINE)
        except Conflict:
            pass
