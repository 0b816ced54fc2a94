"""Keeps credentials out of all that is written: what looks like one, and every secret value that is known. Pure."""

import json
import re
from collections.abc import Iterable, Mapping
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

_SECRET_NAME = re.compile(r"KEY|TOKEN|SECRET|PASSWORD|CREDENTIAL|HEADER")
# Lines of `Name: value`; a value of two words may be a scheme and what is shown by it.
_HEADER = re.compile(r"^[^\s:]+:[ \t]*(\S.*?)\s*$", re.MULTILINE)
_SHOWN = re.compile(r"[A-Za-z-]+ +(\S+)")
# What is shorter is a word or a number that may stand anywhere.
_LEAST = 8


def secrets_in(environ: Mapping[str, str]) -> list[str]:
    """Return the values of those variables whose names speak of a secret, those of headers singly as well."""
    return [
        each
        for name, value in environ.items()
        if _SECRET_NAME.search(name.upper())
        for each in (value, *(_in_headers(value) if "HEADER" in name.upper() else ()))
    ]


def _in_headers(lines: str) -> list[str]:
    values = _HEADER.findall(lines)
    return values + [shown[1] for shown in map(_SHOWN.fullmatch, values) if shown]


class Redaction:
    """Masks `values`, as they are and as they stand in JSON, and everything that has the shape of a credential."""

    def __init__(self, values: Iterable[str] = ()) -> None:
        known = {
            form for value in values if len(value) >= _LEAST for form in (value, json.dumps(value)[1:-1])
        }
        # The longest first: one may be a part of another.
        self._values = sorted(known, key=len, reverse=True)

    def text(self, text: str) -> str:
        """Return `text` without credentials."""
        return _SECRET.sub(MASK, self.without_values(text))

    def without_values(self, text: str) -> str:
        """Return `text` without the known values alone."""
        for value in self._values:
            text = text.replace(value, MASK)
        return text

    def unfinished(self, text: str) -> int:
        """Return how many characters at the end of `text` may be the beginning of a known value."""
        return max((_begun(text, value) for value in self._values), default=0)

    def data(self, data: bytes) -> bytes:
        """Return a file's content without credentials; what is no text loses the known values alone."""
        try:
            return self.text(data.decode()).encode()
        except UnicodeDecodeError:
            for value in self._values:
                data = data.replace(value.encode(), MASK.encode())
            return data

    def json(self, part: Any, leave: frozenset[str] = frozenset()) -> Any:
        """Return a JSON value with every text in it redacted; what is named as in `leave` stays as it is."""
        if isinstance(part, str):
            return self.text(part)
        if isinstance(part, dict):
            return {name: value if name in leave else self.json(value, leave) for name, value in part.items()}
        if isinstance(part, list | tuple):
            return [self.json(value, leave) for value in part]
        return part


# What knows no values: the shapes alone.
SHAPES = Redaction()


class Pieces:
    """Redacts a text that arrives in pieces; the end of a piece waits while it could be the beginning of a secret.

    All that it shows, joined, is the beginning of the whole text redacted.
    """

    def __init__(self, redaction: Redaction = SHAPES) -> None:
        self._redaction = redaction
        self._raw = ""
        self._held = ""

    def push(self, text: str) -> str:
        """Return what may be shown now."""
        known = self._redaction.without_values(self._raw + text)
        end = len(known) - self._redaction.unfinished(known)
        self._raw = known[end:]
        whole = self._held + known[:end]
        # No key is longer than this; a block that never ends must not be searched again and again.
        place = settled(whole) if len(whole) <= LONGEST_HELD else len(whole)
        self._held = whole[place:]
        return _SECRET.sub(MASK, whole[:place])

    def flush(self) -> str:
        """Return what was held back: nothing follows any more."""
        held, self._held, self._raw = self._held + self._raw, "", ""
        return self._redaction.text(held)


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


def _begun(text: str, value: str) -> int:
    end = text[-len(value) + 1 :]
    return next((size for size in range(len(end), 0, -1) if value.startswith(end[-size:])), 0)
