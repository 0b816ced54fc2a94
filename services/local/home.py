"""The data folder of local mode: who runs in it, how to reach it, and the token that proves it."""

import contextlib
import fcntl
import hmac
import os
import secrets
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import msgspec

from services.local.errors import LocalError

OWNER_ONLY = 0o700
NONCE_LENGTH = 200


class HomeError(LocalError):
    """The data folder cannot be used."""


class Address(msgspec.Struct, frozen=True):
    """Where the local mode that runs in a folder listens, and which agent works there."""

    url: str
    nats: str
    pid: int
    agent: str = ""


class Home:
    """A data folder."""

    def __init__(self, path: Path) -> None:
        self.path = path.expanduser().absolute()
        self._token = self.path / "token"
        self._address = self.path / "address.json"

    @contextlib.contextmanager
    def occupied(self) -> Iterator[None]:
        """Make the folder ours for the body. Raises `HomeError` when somebody runs in it."""
        try:
            self.path.mkdir(parents=True, exist_ok=True, mode=OWNER_ONLY)
            self.path.chmod(OWNER_ONLY)
            lock = os.open(self.path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as e:
            raise HomeError(
                f"{self.path} cannot be used ({e.strerror}); name another folder with --data"
            ) from e
        try:
            self._lock(lock)
            with self._told():
                yield
        finally:
            os.close(lock)

    @contextlib.contextmanager
    def _told(self) -> Iterator[None]:
        self.keep(self._token.name, secrets.token_hex(32))
        try:
            yield
        finally:
            self._address.unlink(missing_ok=True)

    def _lock(self, lock: int) -> None:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as e:
            raise HomeError(
                f"another threadmill dev runs in {self.path}; stop it or name another --data"
            ) from e

    @property
    def keys(self) -> Path:
        """Where the keys of the broker and of its clients lie."""
        return self.path / "keys"

    def keep(self, name: str, content: str) -> None:
        """Write a file that its owner alone can read, whole or not at all."""
        fresh = self.path / f".{name}.new"
        fresh.unlink(missing_ok=True)
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(content)
        fresh.rename(self.path / name)

    def announce(self, address: Address) -> None:
        """Tell clients on this machine where to connect."""
        self.keep(self._address.name, msgspec.json.encode(address).decode())

    def address(self) -> Address:
        """Return where the local mode of this folder listens. Raises `HomeError` when none runs."""
        try:
            return msgspec.json.decode(self._address.read_bytes(), type=Address)
        except (OSError, msgspec.DecodeError) as e:
            raise HomeError(
                f"no threadmill dev runs in {self.path}; start one, or name its folder with --data"
            ) from e

    def proof(self, nonce: str) -> str:
        """Return what only a reader of the token file can say about `nonce`. Raises `HomeError`."""
        try:
            token = self._token.read_bytes()
        except OSError as e:
            raise HomeError(f"the token in {self.path} cannot be read: {e.strerror}") from e
        return hmac.new(token, nonce[:NONCE_LENGTH].encode(), sha256).hexdigest()

    def proves(self, nonce: str, answer: str) -> bool:
        """Whether `answer` is the proof for `nonce`."""
        return hmac.compare_digest(self.proof(nonce), answer)
