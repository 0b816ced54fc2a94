"""What can become of a payload: stored in a session, shown to a person, refused with a sentence, or ignored."""

import msgspec

from schemas.inputs import Answered, Continued, Edited, Said, Stop, Withdrawn
from schemas.keys import SessionKey, token
from services.ingress.events import SlackFile


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """Where a person is told something: in the thread, or in the channel where it is None."""

    channel: str
    user: str
    thread_ts: str | None = None


class Store(msgspec.Struct, frozen=True, kw_only=True):
    """Write `message` into the session `key`, once for every `id`.

    The open points come with it, for whoever can ask: `only_in_session` (drop it where the thread is no session, and say `otherwise` if that is set),
    `find_thread` (the key names a message, not yet its thread), `check_outsider` (nothing said whether the person comes
    from another company), `check_private` (nothing said whether the channel is private). `refusal` is what a person who may
    not do this is told.
    """

    key: SessionKey
    message: Said | Edited | Withdrawn | Answered | Continued | Stop
    id: str
    place: Place
    attached: tuple[SlackFile, ...] = ()
    only_in_session: bool = False
    otherwise: str = ""
    find_thread: bool = False
    check_outsider: bool = False
    check_private: bool = False
    refusal: str = ""
    pressed: bool = False

    def __post_init__(self) -> None:
        """Refuse a person or a file without a Slack id: what is kept of them is kept under it. Raises `InvalidKey`."""
        for id_ in (self.message.user.id, *(file.id for file in self.attached)):
            token(id_)


class Show(msgspec.Struct, frozen=True, kw_only=True):
    """Tell the person what the session's worker uses."""

    key: SessionKey
    place: Place
    id: str
    refusal: str = ""


class Refuse(msgspec.Struct, frozen=True, kw_only=True):
    """Do nothing and say why: `reason` is for the counter, `sentence` for the person."""

    reason: str
    sentence: str
    place: Place
    id: str


class Ignore(msgspec.Struct, frozen=True):
    """Do nothing; `reason` is for the counter."""

    reason: str


Decision = Store | Show | Refuse | Ignore
