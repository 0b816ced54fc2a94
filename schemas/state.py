"""`state`: the agent's own conversation, as it needs it to resume."""

from typing import ClassVar

from schemas.base import SessionMessage


class StateAppended(SessionMessage, frozen=True, kw_only=True):
    """Entries of the agent's own conversation, in order.

    `subpath` tells the conversation apart (the main one is empty). A batch too large for one message is split: `part`
    of `parts`, to be joined as text before it is read. `batch` names the append, so that a retried one counts once.
    `told` is a mark of the instructions that the agent had by then, None where nobody noted it.
    """

    leaf: ClassVar[str] = "state"
    batch: str
    entries: str
    agent: str = ""
    conversation: str = ""
    subpath: str = ""
    part: int = 0
    parts: int = 1
    told: str | None = None
