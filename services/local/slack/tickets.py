"""Unguessable short-lived tokens: what Slack puts into upload, response and socket addresses and into trigger ids."""

import secrets
from collections import OrderedDict
from typing import Literal, NamedTuple

Purpose = Literal["socket", "upload", "trigger", "response"]
MOST_TICKETS = 10_000


class _Ticket(NamedTuple):
    purpose: Purpose
    value: str
    until: float
    uses: int


class Tickets:
    """Issued tickets; the oldest go first where there are too many."""

    def __init__(self) -> None:
        self._open: OrderedDict[str, _Ticket] = OrderedDict()

    def issue(
        self, purpose: Purpose, value: str, *, until: float, uses: int = 1, token: str | None = None
    ) -> str:
        """A token that stands for `value` until then. One `token` may serve two purposes."""
        token = token or secrets.token_urlsafe(24)
        self._open[f"{purpose}:{token}"] = _Ticket(purpose, value, until, uses)
        if len(self._open) > MOST_TICKETS:
            self._open.popitem(last=False)
        return token

    def redeem(self, purpose: Purpose, token: str, now: float) -> str | None:
        """The value, with one use gone; None for a token that is unknown, used up or too old."""
        ticket = self._open.pop(f"{purpose}:{token}", None)
        if ticket is None or now >= ticket.until:
            return None
        if ticket.uses > 1:
            self._open[f"{purpose}:{token}"] = ticket._replace(uses=ticket.uses - 1)
        return ticket.value
