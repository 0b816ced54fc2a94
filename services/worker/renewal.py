"""Keeping a connection's credential fresh, for as long as the scheduler renews it."""

import asyncio
import time

import structlog

from schemas.base import MalformedMessage
from schemas.credentials import CREDENTIALS, Credential, Renew
from services.runtime.bus import Bus
from services.runtime.connection import reconnect
from services.runtime.errors import Unavailable
from services.runtime.proof import Proof

log = structlog.get_logger(__name__)

ASK_SECONDS = 5.0
# A credential is renewed when this part of its life is over, and tried again so many seconds later.
RENEW_AT = 0.75
AGAIN_SECONDS = 5.0
NEVER = 2.0**31


class Renewal:
    """Renews the `proof` that `bus` shows, by asking on `subject`."""

    def __init__(self, bus: Bus, proof: Proof, subject: str) -> None:
        self._bus = bus
        self._subject = subject
        self.proof = proof
        self._due = _due(proof)

    def left(self) -> float:
        """Return in how many seconds it is time to renew it, or to try again."""
        return max(0.0, self._due - time.monotonic())

    async def run(self) -> None:
        """Renew it in time, for ever; one that cannot be renewed ends with its time."""
        while True:
            await asyncio.sleep(self.left())
            try:
                await self.renew()
            except Unavailable as e:
                log.warning("the credential is not renewed yet", error=str(e))

    async def renew(self) -> None:
        """Renew it now, and connect anew with it. Raises `Unavailable`."""
        self._due = time.monotonic() + AGAIN_SECONDS
        request = Renew(user=self.proof.key.public)
        reply = await self._bus.request(self._subject, request, deadline=ASK_SECONDS)
        try:
            word = CREDENTIALS.decode(reply)
        except MalformedMessage as e:
            raise Unavailable(f"the scheduler answered something else: {e}") from e
        if not isinstance(word, Credential):
            raise Unavailable(f"the scheduler refuses: {word}")
        self.proof.renew(word.jwt)
        self._due = max(self._due, _due(self.proof))
        await reconnect(self._bus.client)


def _due(proof: Proof) -> float:
    return proof.since + (NEVER if proof.life is None else proof.life) * RENEW_AT
