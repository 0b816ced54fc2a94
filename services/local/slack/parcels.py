"""What is on its way to the app, and how it is told that the app did not take it."""

from typing import NamedTuple

from services.local.slack.events import Kind
from services.local.slack.model import Json


class Parcel(NamedTuple):
    """One attempt to deliver a payload: the first is attempt 0; `reason` says why the one before failed.

    Ordered faults strike what a person did, not the app's own echo: `by_person`.
    """

    kind: Kind
    payload: Json
    attempt: int = 0
    reason: str = ""
    by_person: bool = True


class NotTakenError(Exception):
    """The app did not acknowledge. The text is Slack's retry reason; `final` where the app wants no retry."""

    def __init__(self, reason: str, *, final: bool = False) -> None:
        super().__init__(reason)
        self.final = final
