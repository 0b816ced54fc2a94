"""How much of a tool call is shown."""

TITLE_CHARACTERS, DETAIL_CHARACTERS, OUTPUT_CHARACTERS = 120, 2_000, 4_000


def shorten(text: str, limit: int) -> str:
    """Cut `text` to at most `limit` characters, with a mark where it was cut."""
    return text if len(text) <= limit else text[: limit - 1] + "…"
