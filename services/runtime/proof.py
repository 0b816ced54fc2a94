"""Who a connection is, in memory alone: a JWT that may be renewed, and the key that it is bound to."""

import base64
import math
import time
from pathlib import Path
from typing import Self

from services.runtime.claims import times
from services.runtime.errors import SettingsError
from services.runtime.nkey import NKey


class Proof:
    """The proof that a client shows at each connection; `jwt` was issued at `since`, by our monotonic clock."""

    def __init__(self, key: NKey, jwt: str) -> None:
        self.key = key
        self.renew(jwt)

    @classmethod
    def read(cls, path: Path) -> Self:
        """Return what a creds file holds. Raises `SettingsError`."""
        try:
            lines = path.read_text().splitlines()
            jwt = lines[lines.index("-----BEGIN NATS USER JWT-----") + 1]
            seed = lines[lines.index("-----BEGIN USER NKEY SEED-----") + 1]
            age = time.time() - times(jwt).iat
        except (OSError, ValueError, IndexError) as e:
            raise SettingsError(
                f"nats.creds: {path} cannot be used: it is no creds file, or not there any more"
            ) from e
        proof = cls(NKey(seed), jwt)
        # How old it is, our clock alone tells. What it calls expired was given to us a moment ago: it is the clock that is ahead.
        if 0 < age < (proof.life or math.inf):
            proof.since -= age
        return proof

    def renew(self, jwt: str) -> None:
        """Show `jwt` from now on, which was issued just now: by whose clock does not matter."""
        self.jwt = jwt
        self.since = time.monotonic()

    @property
    def life(self) -> float | None:
        """For how many seconds from `since` on it holds; None for ever."""
        its = times(self.jwt)
        return None if its.exp is None else its.exp - its.iat

    @property
    def over(self) -> bool:
        """Whether its time has passed, by our clock."""
        return self.life is not None and time.monotonic() >= self.since + self.life

    def shown(self) -> bytes:
        """Return the JWT as it goes to the broker."""
        return self.jwt.encode()

    def signature(self, nonce: str) -> bytes:
        """Return the signature of the broker's `nonce` as it goes to the broker."""
        return base64.b64encode(self.key.sign(nonce.encode()))
