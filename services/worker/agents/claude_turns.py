"""Decides when Claude Code has answered every prompt that it was given: pure."""

from collections.abc import Sequence
from typing import Any
from uuid import NAMESPACE_URL, uuid4, uuid5

from claude_agent_sdk import Message, ResultMessage, SystemMessage, UserMessage

from .pictures import Picture
from .prompts import prompt_text
from .protocol import Finished, Prompt, Usage
from .trim import number, words

IDLE = "idle"


def prompt_uuid(prompt_id: str) -> str:
    """Return the uuid under which the prompt of this id stands in Claude Code's conversation."""
    return str(uuid5(NAMESPACE_URL, f"threadmill:prompt:{prompt_id}"))


class Turn:
    """What was sent, what Claude Code took, and the results since the last `Finished`.

    A prompt sent while a tool runs joins the running turn and shares its result; one sent during the last text gets
    a result of its own. Claude Code says which prompts a result answers, and `idle` when it owes nothing more.
    `ended` tells that there was a `Finished`; `cost` is what its process has cost up to the last one, in USD.
    """

    def __init__(self) -> None:
        self._open: set[str] = set()
        self._results: list[ResultMessage] = []
        self._state = IDLE
        self._sent = 0
        self.interrupted = False
        self.ended = False
        self.cost = 0.0

    @property
    def running(self) -> bool:
        """Whether Claude Code works, or has a prompt that it did not take yet."""
        return bool(self._open or self._results) or self._state != IDLE

    def sent(self, uuid: str) -> None:
        """Note a prompt on its way to Claude Code."""
        self._open.add(uuid)
        self._sent += 1

    def interrupt(self) -> None:
        """Note that whatever was sent so far is not to be answered any more."""
        self.interrupted = True

    def received(self, message: Message) -> Finished | None:
        """Note what Claude Code says; return `Finished` when that was the last answer owed."""
        if isinstance(message, ResultMessage):
            self._results.append(message)
            self._open.difference_update(_answered(message))
        elif isinstance(message, UserMessage):
            self._open.discard(words(message.uuid))
        elif isinstance(message, SystemMessage) and message.subtype == "session_state_changed":
            self._state = words(message.data.get("state")) or self._state
        answered = self.interrupted or not self._open
        return self.finish() if self._results and answered and self._state == IDLE else None

    def finish(self) -> Finished | None:
        """Return the `Finished` of the results so far, None without any, and begin anew."""
        if not self._results:
            return None
        self.ended = True
        results, self._results = self._results, []
        self._open.clear()
        self.interrupted = False
        answered, self._sent = self._sent, 0
        before, self.cost = self.cost, number(results[-1].total_cost_usd) or self.cost
        return Finished(
            ok=not results[-1].is_error,
            text="\n\n".join(filter(None, map(_text, results))),
            stop_reason=_stop_reason(results[-1]),
            usage=_usage(results),
            cost_usd=max(0.0, self.cost - before),
            answered=answered,
        )


def fresh_uuid(prompt_id: str, known: frozenset[str]) -> str:
    """Return the prompt's uuid, or a random one when the conversation has it: Claude Code skips a uuid it knows."""
    uuid = prompt_uuid(prompt_id)
    return str(uuid4()) if uuid in known else uuid


def takes_a_prompt(message: Message) -> bool:
    """Whether Claude Code begins to work on something now."""
    return isinstance(message, SystemMessage) and message.subtype == "init"


def user_message(prompt: Prompt, shown: Sequence[Picture], uuid: str) -> dict[str, Any]:
    """Return the prompt as Claude Code takes it, with its attachments `shown` before its text."""
    content: list[dict[str, Any]] = [
        {"type": "image", "source": {"type": "base64", "media_type": each.media_type, "data": each.data}}
        for each in shown
    ]
    content.append({"type": "text", "text": prompt_text(prompt)})
    message = {"role": "user", "content": content}
    return {"type": "user", "message": message, "parent_tool_use_id": None, "uuid": uuid}


def _answered(result: ResultMessage) -> list[str]:
    several = result.user_message_uuids
    return (
        [words(uuid) for uuid in several]
        if isinstance(several, list) and several
        else [words(result.user_message_uuid)]
    )


def _stop_reason(result: ResultMessage) -> str:
    if words(result.terminal_reason).startswith("aborted"):
        return "interrupted"
    if result.subtype == "error_max_budget_usd":
        return "max_budget"
    if result.is_error and (result.api_error_status or result.subtype == "success"):
        return "api_error"
    return words(result.subtype if result.is_error else result.stop_reason) or "end_turn"


def _text(result: ResultMessage) -> str:
    if _stop_reason(result) == "interrupted":
        return ""
    errors = result.errors if isinstance(result.errors, list) else []
    return words(result.result) or "; ".join(map(words, errors))


def _usage(results: list[ResultMessage]) -> Usage:
    usages = [result.usage for result in results if isinstance(result.usage, dict)]

    def total(name: str) -> int:
        return sum(int(number(usage.get(name))) for usage in usages)

    return Usage(
        input_tokens=total("input_tokens"),
        output_tokens=total("output_tokens"),
        cache_read_tokens=total("cache_read_input_tokens"),
        cache_write_tokens=total("cache_creation_input_tokens"),
    )
