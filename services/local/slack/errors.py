"""How a call is refused: Slack's own error codes."""

from typing import Any


class SlackError(Exception):
    """A call that Slack answers with `ok: false`. `error` is Slack's code; `details` go into the answer beside it."""

    def __init__(self, error: str, **details: Any) -> None:
        super().__init__(error)
        self.error = error
        self.details = details


def invalid(error: str, *messages: str) -> SlackError:
    """A refusal that tells which part was wrong, where Slack tells it: in `response_metadata.messages`."""
    return SlackError(error, response_metadata={"messages": [f"[ERROR] {message}" for message in messages]})
