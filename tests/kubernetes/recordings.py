"""What the recorded agent plays in a story: steps that a person sees, and pauses that end by what the story does."""

from pathlib import Path
from typing import Any

import msgspec

Step = dict[str, Any]
FOR_EVER_MS = 3_600_000
IN_THE_MIDDLE = "I am in the middle of it"


def step(kind: str, *, after_ms: int = 0, **fields: Any) -> Step:
    return {"after_ms": after_ms, "event": {"type": kind} | fields}


def says(text: str) -> list[Step]:
    """A text, whole as people see it."""
    return [step("TextDelta", text=text), step("TextBlock", text=text)]


def writes(path: str, text: str = "It is work.\n") -> list[Step]:
    """A file in the workspace, and the card that tells of it."""
    call = {"call": f"{path}-{{turn}}"}
    return [
        step("ToolStarted", name="Write", title=f"Write {path}", detail="", **call),
        step("WriteFile", path=path, text=text),
        step("ToolFinished", ok=True, duration_ms=1, output=f"Wrote {path}", **call),
    ]


def never_ends() -> list[Step]:
    """Words by which a person sees that it works, and a tool that runs until somebody ends it."""
    tool = step("ToolStarted", call="endless-{turn}", name="Bash", title="Bash: make", detail="make")
    return [*says(IN_THE_MIDDLE), tool, step("Thinking", after_ms=FOR_EVER_MS, text="")]


def asks(title: str) -> list[Step]:
    """A question that the next words in the thread answer."""
    return [step("QuestionAsked", id="q-{turn}", about="choice", title=title, choices=["yes", "no"])]


def plays(file: Path, *parts: list[Step], text: str = "It is done: {prompt}") -> None:
    """Let agents that start from now on play `parts` and say `text` at the end."""
    end = step("Finished", ok=True, text=text, stop_reason="end_turn", usage={}, cost_usd=0.0)
    steps = [*(each for part in parts for each in part), *says(text), end]
    fresh = file.with_suffix(".new")
    fresh.write_bytes(b"".join(msgspec.json.encode(each) + b"\n" for each in steps))
    fresh.replace(file)
