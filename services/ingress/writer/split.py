"""Long Markdown in parts: cut between paragraphs, else between lines, code fences closed and opened again."""

import re

_FENCE = re.compile(r" {0,3}(`{3,20}|~{3,20})([^\n]*)")
LONGEST_CLOSING = 22
LONGEST_INFO = 40
LONGEST_OPENER = 62
SHORTEST_LIMIT = 200


class Fence:
    """Whether a code block is open at a place in a text. `opener` is the line that opens it again, empty if none is."""

    def __init__(self) -> None:
        self.opener = ""
        self._marker = ""

    @property
    def closing(self) -> str:
        """The line that ends the open block, empty if none is open."""
        return self._marker

    def read(self, line: str) -> None:
        """Go on by one line."""
        found = _FENCE.fullmatch(line.rstrip("\r\n"))
        if not found:
            return
        marker, info = found[1], found[2].strip()
        if not self._marker:
            if "`" not in info or marker[0] == "~":
                self._marker = marker
                self.opener = marker + (info if len(info) <= LONGEST_INFO else "")
        elif marker.startswith(self._marker) and not info:
            self._marker = self.opener = ""


def fence_after(text: str) -> Fence:
    """Return the state of the fences at the end of `text`."""
    fence = Fence()
    for line in text.splitlines():
        fence.read(line)
    return fence


def split(text: str, limit: int) -> list[str]:
    """Return `text` in parts of at most `limit` characters (200 or more), each with its fences closed."""
    if limit < SHORTEST_LIMIT:
        raise ValueError(f"parts of {limit} characters are too short, give {SHORTEST_LIMIT} or more")
    parts: list[str] = []
    while len(text) > limit:
        cut = _cut(text, limit - LONGEST_CLOSING)
        part, text = text[:cut], text[cut:]
        fence = fence_after(part)
        if fence.closing:
            parts.append(f"{part.rstrip(chr(10))}\n{fence.closing}")
            text = f"{fence.opener}\n{text}"
        else:
            parts.append(part.strip("\n"))
            text = text.lstrip("\n")
    return [part for part in (*parts, text.strip("\n") if parts else text) if part.strip()]


def _cut(text: str, room: int) -> int:
    """The best place to cut at or before `room`: a paragraph's end, a line's outside of code, any line's, a word's."""
    # A part that held only the reopened fence's own line would never end.
    enough, place, fence = max(room // 4, LONGEST_OPENER + 1), 0, Fence()
    paragraph = line_end = any_line = 0
    for line in text[:room].splitlines(keepends=True)[:-1]:
        place += len(line)
        fence.read(line)
        any_line = place
        if not fence.closing:
            line_end = place
            paragraph = place if not line.strip() else paragraph
    for found in (paragraph, line_end, any_line):
        if found >= enough:
            return found
    space = text.rfind(" ", enough, room)
    return space + 1 if space > 0 else room
