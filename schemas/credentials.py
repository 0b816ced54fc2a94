"""What a worker asks of the scheduler to be let into its one session, to stay there, and to read its log.

Who asks stands in the subject, which the broker lets nobody else use; what is asked in the payload.
"""

import msgspec

from schemas.base import Family, Message
from schemas.keys import SessionKey


class Knock(Message, frozen=True, kw_only=True):
    """A worker that nobody gave a credential asks for that of its pool: `token` is its cluster's word for who it is."""

    user: str
    token: str

    @staticmethod
    def subject(pool: str, worker: str) -> str:
        """Return the subject of the request."""
        return f"scheduler.knock.{pool}.{worker}"


class Secrets(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a worker's agent and its git need and no launcher can give: they stay in the worker's memory.

    `environ` is for the agent; the repository is reached as `git_user` with `git_password`.
    """

    environ: dict[str, str] = {}
    git_user: str = ""
    git_password: str = ""

    def __repr__(self) -> str:
        return "Secrets(...)"


class Enter(Message, frozen=True, kw_only=True):
    """A worker took the assignment that `ack` acknowledges, and asks for its session's credential.

    It is bound to `user`, the public half of a key that never leaves the worker.
    """

    user: str
    ack: str

    @staticmethod
    def subject(worker: str) -> str:
        """Return the subject of the request."""
        return f"scheduler.enter.{worker}"


class Renew(Message, frozen=True, kw_only=True):
    """Who waits in a pool, or holds a session's lease, asks for its credential anew before it expires."""

    user: str

    @staticmethod
    def subject(key: SessionKey | str, worker: str) -> str:
        """Return the subject of the request."""
        return f"scheduler.renew.{key}.{worker}"

    @staticmethod
    def in_pool(pool: str, worker: str) -> str:
        """Return the subject of the request of a worker that waits in `pool`."""
        return f"scheduler.stay.{pool}.{worker}"


class Credential(Message, frozen=True, kw_only=True):
    """A JWT for the broker; its public half of the key says whose. Into a session go `secrets` with it."""

    jwt: str
    secrets: Secrets = Secrets()


class Denied(Message, frozen=True, kw_only=True):
    """The request was refused; `reason` is one sentence. `spent` tells that no other session lets this worker in."""

    reason: str
    spent: bool = False


class OpenReader(Message, frozen=True, kw_only=True):
    """A worker asks for a consumer that reads `reading` of its session after the sequence `after`, in place of an earlier one."""

    reading: str
    after: int = 0

    @staticmethod
    def subject(key: SessionKey | str, worker: str) -> str:
        """Return the subject of the request."""
        return f"scheduler.reader.{key}.{worker}"


class Reader(Message, frozen=True, kw_only=True):
    """The consumer, and how many messages wait for it; all that was stored has come once the sequence `last` has."""

    consumer: str
    pending: int
    last: int = 0


CREDENTIALS = Family.of(Credential, Denied)
READERS = Family.of(Reader, Denied)
