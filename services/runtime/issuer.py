"""Making users of one account, by its signing key."""

from pathlib import Path
from typing import Self

import msgspec

from schemas.rights import Rights
from services.runtime.claims import creds, user_jwt
from services.runtime.errors import SettingsError
from services.runtime.nkey import NKey


class _Kept(msgspec.Struct):
    account: str
    seed: str


class Issuer:
    """Signs what users of `account` may do; whoever has its seed decides that."""

    def __init__(self, account: str, signer: NKey) -> None:
        self.account = account
        self._signer = signer

    @classmethod
    def read(cls, path: Path) -> Self:
        """Return what `path` keeps. Raises `SettingsError`."""
        try:
            kept = msgspec.json.decode(path.read_bytes(), type=_Kept)
        except (OSError, msgspec.MsgspecError) as e:
            raise SettingsError(
                f"the signing key {path} cannot be read: `threadmill credentials` writes one"
            ) from e
        return cls(kept.account, NKey(kept.seed))

    @property
    def public(self) -> str:
        """The public part of the key that signs."""
        return self._signer.public

    def kept(self) -> str:
        """Return what a file keeps."""
        return msgspec.json.encode(_Kept(self.account, self._signer.seed)).decode()

    def jwt(self, user: str, rights: Rights, *, seconds: float | None = None) -> str:
        """Return the JWT of the user with the public key `user`, for `seconds`."""
        return user_jwt(self._signer, self.account, user, rights, seconds=seconds)

    def creds(self, rights: Rights, *, seconds: float | None = None) -> str:
        """Return the creds file of a new user, for `seconds`."""
        user = NKey.generate("user")
        return creds(self.jwt(user.public, rights, seconds=seconds), user)
