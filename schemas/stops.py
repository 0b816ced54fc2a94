"""What people pressed and said, as it bears on what waits: one rule for whoever folds a session's log. Pure."""

from datetime import datetime

import msgspec

from schemas.base import Message, Moment, Unknown
from schemas.ends import TurnEnd
from schemas.inputs import Continued, Control, Said


class Stops(msgspec.Struct, frozen=True, kw_only=True):
    """Until when all stops that were pressed are settled, and when people last spoke, in words or by Continue.

    Both are times of the source. A stop is settled by the end of the turn that it was known to mean, and by a Continue that
    was pressed after it. One that is settled has nothing left to end, stored late or brought again; nor has any that was
    pressed before it: it meant that turn, or an older one.
    """

    settled_at: Moment | None = None
    spoken_at: Moment | None = None

    def after(self, message: Message | Unknown) -> "Stops":
        """Return what is known after `message`, the next one in the log."""
        match message:
            case Said():
                return self.spoken(message.at)
            case Continued():
                return self._with(spoken_at=message.at, settled_at=message.at)
            case TurnEnd(pressed_at=datetime() as at):
                return self._with(settled_at=at)
        return self

    def spoken(self, at: datetime) -> "Stops":
        """Return what is known once people spoke at `at`."""
        return self._with(spoken_at=at)

    def _with(self, **times: datetime) -> "Stops":
        newest = {name: max(at, getattr(self, name) or at) for name, at in times.items()}
        return msgspec.structs.replace(self, **newest)

    def pauses(self, message: Message | Unknown) -> bool | None:
        """Whether what waits after `message`, the next one in the log, waits for people; None where it changes nothing."""
        match message:
            case Said() | Continued():
                return False
            case Control() if not self.is_settled(message):
                return True if self.is_last_word(message.at) else None
            case TurnEnd(pressed_at=datetime() as at):
                # The log may not have told of the stop.
                return True if self.is_last_word(at) else None
        return None

    def is_settled(self, control: Control) -> bool:
        """Whether `control` has nothing left to end."""
        return self.settled_at is not None and control.at <= self.settled_at

    def is_last_word(self, pressed_at: datetime) -> bool:
        """Whether nobody has spoken since a stop was pressed at `pressed_at`."""
        return self.spoken_at is None or self.spoken_at <= pressed_at
