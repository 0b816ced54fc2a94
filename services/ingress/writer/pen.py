"""The one hand that writes to Slack: within the budget, redacted, and again until it is done."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import TypeVar

import structlog

from services.ingress.slack_api import Json, SlackApi, SlackError
from services.ingress.writer.budget import Budget, Urgency
from services.ingress.writer.metrics import CALLS
from services.runtime.redact import SHAPES

log = structlog.get_logger(__name__)
T = TypeVar("T")

FIRST_BACKOFF, LONGEST_BACKOFF = 0.5, 20.0
DEFAULT_RETRY_AFTER = 5.0
# The place where we would write is no longer ours: nothing that we do helps.
GONE = frozenset(
    {
        "channel_not_found", "is_archived", "not_in_channel", "thread_not_found", "restricted_action",
        "account_inactive", "token_revoked", "invalid_auth", "not_authed", "no_permission", "missing_scope",
        "team_not_found", "restricted_action_read_only_channel", "restricted_action_thread_locked",
    }
)  # fmt: skip
# Names of JSON fields that carry no words for people; their values go out as they are.
NOT_TEXT = frozenset({"type", "action_id", "block_id", "value", "style", "id", "task_id"})
# Slack's word for a token that is being rotated: the next one will do.
LATER = frozenset({"token_expired"})


class ChannelGone(Exception):
    """The thread cannot be written to any more; its text is Slack's word."""


def refused_for_pace(error: SlackError) -> bool:
    """Whether Slack refused the call for its pace alone, so that it certainly did nothing."""
    return error.retry_after is not None or error.error in {"ratelimited", "rate_limited", "http_429"}


class Pen:
    """Writes into one workspace's threads. What it is given is redacted before it goes out."""

    def __init__(self, slack: SlackApi, budget: Budget) -> None:
        self.slack = slack
        self._budget = budget

    async def due(
        self,
        method: str,
        team: str,
        channel: str,
        arguments: Json,
        *,
        unclear: Callable[[], Awaitable[Json | None]] | None = None,
    ) -> Json:
        """Call `method` until Slack has taken or refused it, and return the answer.

        `unclear` is asked after a lost answer whether the call was carried out; what it finds is the answer. Raises
        `ChannelGone`, and `SlackError` for a refusal that trying again does not change.
        """
        clean = SHAPES.json(arguments, NOT_TEXT)
        return await self.until_done(
            method, team, channel, lambda: self.slack.call(method, **clean), unclear=unclear
        )

    async def until_done(
        self,
        method: str,
        team: str,
        channel: str,
        call: Callable[[], Awaitable[T]],
        *,
        unclear: Callable[[], Awaitable[T | None]] | None = None,
        urgency: Urgency = "due",
    ) -> T:
        """Make any call, as `due` does."""
        backoff = FIRST_BACKOFF
        while True:
            await self.turn(method, team, channel, urgency)
            try:
                return await self._counted(method, team, channel, call)
            except SlackError as e:
                if not (e.retriable or e.error in LATER):
                    raise
                if refused_for_pace(e):
                    continue
                log.warning("slack did not answer", method=method, error=e.error)
            if unclear and (found := await unclear()) is not None:
                return found
            await asyncio.sleep(backoff * random.uniform(0.7, 1.0))  # noqa: S311 (spreads retries, no secret)
            backoff = min(backoff * 2, LONGEST_BACKOFF)

    async def turn(self, method: str, team: str, channel: str, urgency: Urgency = "due") -> None:
        """Wait until the budget allows a call that must be made, and take it."""
        while wait := self._budget.take(method, team, channel, _now(), urgency):  # noqa: ASYNC110 (the budget has no bell)
            await asyncio.sleep(wait)

    def spare(self, method: str, team: str, channel: str, urgency: Urgency = "live") -> float:
        """Take a call's worth that nobody else needs and return 0, else the seconds until there may be one."""
        return self._budget.take(method, team, channel, _now(), urgency)

    async def once(self, method: str, team: str, channel: str, arguments: Json) -> Json:
        """Make a call whose budget is taken already, once. Raises `ChannelGone`, `SlackError`."""
        clean = SHAPES.json(arguments, NOT_TEXT)
        return await self._counted(method, team, channel, lambda: self.slack.call(method, **clean))

    async def _counted(self, method: str, team: str, channel: str, call: Callable[[], Awaitable[T]]) -> T:
        try:
            answer = await call()
        except SlackError as e:
            CALLS.labels(method, "refused" if not e.retriable else "failed").inc()
            if refused_for_pace(e):
                self._budget.close(method, team, channel, _now(), e.retry_after or DEFAULT_RETRY_AFTER)
            if e.error in GONE:
                raise ChannelGone(e.error) from e
            raise
        CALLS.labels(method, "ok").inc()
        return answer


def _now() -> float:
    return asyncio.get_running_loop().time()
