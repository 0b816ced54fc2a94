"""What one person alone is told, once: why something was refused, and what they can do."""

import asyncio

import structlog

from services.ingress.behind import Behind
from services.ingress.bounded import Bounded
from services.ingress.decisions import Place
from services.ingress.slack_api import SlackApi, SlackError

log = structlog.get_logger(__name__)

# As long as Slack delivers the same again, and longer.
REMEMBERED = 1800.0
MOST = 20_000
TRIES = 3
LONGEST_WAIT = 30.0


class Notices:
    """Tells people things without anybody waiting for it."""

    def __init__(self, api: SlackApi, behind: Behind) -> None:
        self._api = api
        self._behind = behind
        self._told: Bounded[str, bool] = Bounded(MOST, REMEMBERED)

    def tell(self, place: Place, sentence: str, once: str) -> None:
        """Show the person `sentence`, unless `once` was shown before."""
        if self._told.get(once):
            return
        self._told.put(once, True)
        self._behind.start(self._tell(place, sentence), f"notice for {place.user}")

    async def _tell(self, place: Place, sentence: str) -> None:
        for attempt in range(1, TRIES + 1):
            try:
                await self._api.post_ephemeral(
                    place.channel, place.user, text=sentence, thread_ts=place.thread_ts
                )
            except SlackError as e:
                if not e.retriable or attempt == TRIES:
                    log.warning("notice not shown", channel=place.channel, user=place.user, error=e.error)
                    return
                await asyncio.sleep(min(e.retry_after or 1.0, LONGEST_WAIT))
            else:
                return
