"""NKeys: the ed25519 keys by which NATS knows operators, accounts and users."""

import os
from typing import Literal, Self

import nkeys

from services.runtime.errors import SettingsError

Kind = Literal["operator", "account", "user"]
PREFIXES: dict[Kind, int] = {
    "operator": nkeys.PREFIX_BYTE_OPERATOR,
    "account": nkeys.PREFIX_BYTE_ACCOUNT,
    "user": nkeys.PREFIX_BYTE_USER,
}


class NKey:
    """A key pair. `public` is the name that others know it by, `seed` the secret."""

    def __init__(self, seed: str) -> None:
        """Take a seed in NATS's own text form. Raises `SettingsError` for one that is none."""
        try:
            self._pair = nkeys.from_seed(bytearray(seed.encode()))
            self.public: str = self._pair.public_key.decode()
        except (nkeys.NkeysError, ValueError) as e:
            raise SettingsError("a seed of an NKey cannot be read; it begins with S and has one line") from e
        self.seed = seed

    @classmethod
    def generate(cls, kind: Kind) -> Self:
        """Return a new one."""
        return cls(nkeys.encode_seed(os.urandom(32), PREFIXES[kind]).decode())

    def sign(self, data: bytes) -> bytes:
        """Return the signature of `data`, 64 bytes."""
        signature: bytes = self._pair.sign(data)
        return signature
