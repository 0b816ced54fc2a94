"""Who a connection is, in memory alone: a JWT that may be renewed, and the key that it is bound to."""

import base64
from pathlib import Path
from typing import Self

from services.runtime.claims import expires_at
from services.runtime.errors import SettingsError
from services.runtime.nkey import NKey


class Proof:
    """The proof that a client shows at each connection; `jwt` may be replaced by a later one of the same user."""

    def __init__(self, key: NKey, jwt: str) -> None:
        self.key = key
        self.jwt = jwt

    @classmethod
    def read(cls, path: Path) -> Self:
        """Return what a creds file holds. Raises `SettingsError`."""
        try:
            lines = path.read_text().splitlines()
            jwt = lines[lines.index("-----BEGIN NATS USER JWT-----") + 1]
            seed = lines[lines.index("-----BEGIN USER NKEY SEED-----") + 1]
        except (OSError, ValueError, IndexError) as e:
            raise SettingsError(
                f"nats.creds: {path} cannot be used: it is no creds file, or not there any more"
            ) from e
        return cls(NKey(seed), jwt)

    @property
    def expires_at(self) -> float | None:
        """When it expires, in seconds since 1970; None for never."""
        return expires_at(self.jwt)

    def shown(self) -> bytes:
        """Return the JWT as it goes to the broker."""
        return self.jwt.encode()

    def signature(self, nonce: str) -> bytes:
        """Return the signature of the broker's `nonce` as it goes to the broker."""
        return base64.b64encode(self.key.sign(nonce.encode()))
