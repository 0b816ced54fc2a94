"""Long Markdown is cut where a reader would cut it, and nothing of it is lost."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.ingress.writer.split import fence_after, split

LINES = st.lists(
    st.one_of(
        st.text(max_size=120).map(lambda text: text.replace("\r", " ")),
        st.sampled_from(
            ["", "", "```", "```python", "~~~~", "````", "# Head", "- item", "`" * 60, "~~~ " + "x" * 90]
        ),
        st.integers(1, 900).map(lambda size: "w" * size),
    ),
    max_size=60,
)


def content(text: str) -> str:
    """What may not get lost: all but blanks and the characters that fences are made of."""
    return "".join(c for c in text if not c.isspace() and c not in "`~")


@given(LINES, st.integers(200, 1_000))
def test_every_part_fits_and_nothing_is_lost(lines: list[str], limit: int) -> None:
    text = "\n".join(lines)

    parts = split(text, limit)

    assert all(0 < len(part) <= limit for part in parts)
    assert is_subsequence(content(text), "".join(map(content, parts)))


def is_subsequence(short: str, long: str) -> bool:
    """Reopened fences may repeat their language, so the parts may hold more, in order."""
    rest = iter(long)
    return all(c in rest for c in short)


@given(LINES, st.integers(200, 1_000))
def test_every_part_but_the_last_closes_its_fences(lines: list[str], limit: int) -> None:
    parts = split("\n".join(lines), limit)

    assert all(not fence_after(part).closing for part in parts[:-1])


def test_paragraphs_stay_whole() -> None:
    text = "\n\n".join(f"Paragraph {n}: " + "word " * 20 for n in range(8))

    assert [part.count("Paragraph") for part in split(text, 400)] == [3, 3, 2]
    assert all(part.startswith("Paragraph") for part in split(text, 400))


def test_a_broken_code_block_is_closed_and_opened_again() -> None:
    text = "Look:\n\n```python\n" + "\n".join(f"line_{n} = {n}" for n in range(60)) + "\n```\n\nDone."

    parts = split(text, 300)

    assert all(part.rstrip().endswith("```") for part in parts[1:-1])
    assert all(part.startswith("```python\n") for part in parts[2:])
    assert parts[-1].endswith("Done.")
    assert sum(part.count("line_") for part in parts) == 60


def test_a_short_text_is_left_alone() -> None:
    assert split("  as it is\n", 200) == ["  as it is\n"]
    assert split("", 200) == []


def test_parts_cannot_be_tiny() -> None:
    with pytest.raises(ValueError, match="200 or more"):
        split("text", 20)
