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


class Renewal:
    """Renews the `proof` that `bus` shows, by asking on `subject`."""

    def __init__(self, bus: Bus, proof: Proof, subject: str) -> None:
        self._bus = bus
        self.proof = proof
        self._subject = subject

    async def run(self) -> None:
        """Renew it in time, for ever; one that cannot be renewed ends with its time."""
        while True:
            await asyncio.sleep(_until_renewal(self.proof, time.time()))
            try:
                await self.renew()
            except Unavailable as e:
                log.warning("the credential is not renewed yet", error=str(e))
                await asyncio.sleep(AGAIN_SECONDS)

    async def renew(self) -> None:
        """Renew it now, and connect anew with it. Raises `Unavailable`."""
        request = Renew(user=self.proof.key.public)
        reply = await self._bus.request(self._subject, request, deadline=ASK_SECONDS)
        try:
            word = CREDENTIALS.decode(reply)
        except MalformedMessage as e:
            raise Unavailable(f"the scheduler answered something else: {e}") from e
        if not isinstance(word, Credential):
            raise Unavailable(f"the scheduler refuses: {word}")
        self.proof.jwt = word.jwt
        await reconnect(self._bus.client)


def _until_renewal(proof: Proof, now: float) -> float:
    expiry = proof.expires_at
    return max(0.0, (expiry - now) * RENEW_AT) if expiry else 2**31
