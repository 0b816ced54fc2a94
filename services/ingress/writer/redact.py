"""Nothing that looks like a credential is ever shown, not even across the borders of a stream's appends."""

import re
from typing import Any

MASK = "[redacted]"
LONGEST_HELD = 50_000

_PEM = r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)"
_TOKENS = (
    r"xox[a-z](?:\.xox[a-z])?-[A-Za-z0-9-]{8,}",
    r"xapp-[A-Za-z0-9-]{8,}",
    r"sk-ant-[A-Za-z0-9_-]{8,}",
    r"gh[pousr]_[A-Za-z0-9]{16,}",
    r"github_pat_[A-Za-z0-9_]{16,}",
    r"A[KS]IA[A-Z0-9]{16}",
    r"(?<=://)[^\s/:@]{1,200}:[^\s/@]{1,500}(?=@)",
)
_AWS_LINE = r"(?i:aws_secret_access_key)[^\n]*"
_SECRET = re.compile("|".join((_PEM, *_TOKENS, _AWS_LINE)), re.DOTALL)

# What a secret begins with: text that ends in the middle of one of these waits for what follows.
_LEADS = ("xox", "xapp-", "sk-ant-", "ghp_", "gho_", "ghu_", "ghs_", "ghr_", "github_pat_", "AKIA", "ASIA")
_LEAD = re.compile("|".join(map(re.escape, _LEADS)))
_WORD_AT_END = re.compile(r"[\w.-]+\Z")
_PEM_LEAD = "-----BEGIN "
_OPEN_PEM = re.compile(r"-----BEGIN (?:[A-Z ]*|[A-Z ]*-{1,4}|[A-Z ]*PRIVATE KEY-----(?!.*-----END [A-Z ]*PRIVATE KEY-----).*)\Z", re.DOTALL)  # fmt: skip
_AWS_LEAD = "aws_secret_access_key"
_AWS_OPEN = re.compile(r"(?i:aws_secret_access_key)[^\n]*\Z")

# Names of JSON fields that carry no words for people; their values go out as they are.
_NOT_TEXT = frozenset({"type", "action_id", "block_id", "value", "style", "id", "task_id"})


def redact(text: str) -> str:
    """Return `text` with everything that looks like a credential masked."""
    return _SECRET.sub(MASK, text)


def redact_json(part: Any) -> Any:
    """Return a call's arguments with every text in them redacted."""
    if isinstance(part, str):
        return redact(part)
    if isinstance(part, dict):
        return {name: value if name in _NOT_TEXT else redact_json(value) for name, value in part.items()}
    if isinstance(part, list | tuple):
        return [redact_json(value) for value in part]
    return part


class Redactor:
    """Redacts a text that arrives in pieces; the end of a piece waits while it could be the beginning of a secret."""

    def __init__(self) -> None:
        self._held = ""

    def push(self, text: str) -> str:
        """Return what may be shown now."""
        whole = self._held + text
        # No key is longer than this; a block that never ends must not be searched again and again.
        place = settled(whole) if len(whole) <= LONGEST_HELD else len(whole)
        self._held = whole[place:]
        return redact(whole[:place])

    def flush(self) -> str:
        """Return what was held back: nothing follows any more."""
        held, self._held = self._held, ""
        return redact(held)


def settled(text: str) -> int:
    """Return how much of `text` no secret can reach any more, whatever follows."""
    held = [len(text)]
    if open_block := _OPEN_PEM.search(text):
        held.append(open_block.start())
    if assignment := _AWS_OPEN.search(text):
        held.append(assignment.start())
    if word := _WORD_AT_END.search(text):
        lead = _LEAD.search(text, word.start())
        held += [lead.start()] if lead else []
    held += [
        len(text) - _overlap(text, lead, ignore_case=lead is _AWS_LEAD)
        for lead in (*_LEADS, _PEM_LEAD, _AWS_LEAD)
    ]
    place = min(held)
    # What is a secret already is shown, as a mask, whole or not yet.
    cut = (found.start() for found in _SECRET.finditer(text) if found.start() < place < found.end())
    return next(cut, place)


def _overlap(text: str, lead: str, *, ignore_case: bool) -> int:
    end = text[-len(lead) + 1 :]
    end = end.lower() if ignore_case else end
    return next((size for size in range(len(lead) - 1, 0, -1) if end.endswith(lead[:size])), 0)
