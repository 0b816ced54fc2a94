"""What people and services ask of the archive, by request and reply."""

import msgspec

from schemas.base import Family, Message, Moment
from schemas.buckets import Summary


class ReadLog(Message, frozen=True, kw_only=True):
    """Give the archived records of a session after stream sequence `after`, a page at a time.

    `only` narrows to subjects with this leaf (`state`, `out`, ...); empty for all. `by` is the operator who asks, empty
    where a service does its work; what an operator reads is audited, as an export with `export`. The pages of one
    reading share its `reading`, one token.
    """

    session: str
    after: int = 0
    only: str = ""
    by: str = ""
    export: bool = False
    reading: str = ""

    def subject(self) -> str:
        """Return the subject of the request."""
        return f"archiver.read.{self.session}"


class LogPage(Message, frozen=True, kw_only=True):
    """Records in order. `through` is the last sequence that the page covers; `more` tells that another page follows.

    A page ends where the store keeps the archiver waiting: it may hold little, or nothing that was asked for.
    """

    records: tuple[msgspec.Raw, ...]
    through: int
    more: bool


class ListSessions(Message, frozen=True, kw_only=True):
    """Name the archived sessions after the session `after`, narrowed by whatever is given, a page at a time."""

    team: str = ""
    channel: str = ""
    user: str = ""
    after: str = ""

    @staticmethod
    def subject() -> str:
        """Return the subject of the request."""
        return "archiver.list"


class ListedSession(msgspec.Struct, frozen=True, kw_only=True):
    """One archived session: its objects, their bytes, and what the summary says."""

    session: str
    objects: int
    bytes: int
    last_sequence: int
    summary: Summary | None = None


class SessionList(Message, frozen=True, kw_only=True):
    """The answer to `ListSessions`. `through` is the last session looked at; `more` tells that there are others."""

    sessions: tuple[ListedSession, ...]
    through: str = ""
    more: bool = False


class DeleteSession(Message, frozen=True, kw_only=True):
    """Delete every object of a session and its messages in SESSIONS. `dry_run` only tells what would go."""

    session: str
    by: str
    dry_run: bool = False

    @staticmethod
    def subject() -> str:
        """Return the subject of the request."""
        return "archiver.delete"


class Deleted(Message, frozen=True, kw_only=True):
    """What went, and when the bucket's soft delete ends (None when it keeps nothing)."""

    session: str
    objects: int
    messages: int
    recoverable_until: Moment | None = None


class Refused(Message, frozen=True, kw_only=True):
    """The request was not carried out; `reason` is one sentence with the way out.

    `later` tells whether asking again later may help, None where nobody can tell.
    """

    reason: str
    later: bool | None = None


PAGES = Family.of(LogPage, Refused)
