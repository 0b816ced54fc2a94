"""Text of strangers, made safe to pass on: short where it is shown, and always encodable."""

TITLE_CHARACTERS, DETAIL_CHARACTERS, OUTPUT_CHARACTERS = 120, 2_000, 4_000


def valid(text: str) -> str:
    """Replace lone surrogates, which JSON can carry and UTF-8 cannot."""
    return text.encode("utf-8", "replace").decode("utf-8")


def shorten(text: str, limit: int) -> str:
    """Cut `text` to at most `limit` characters, with a mark where it was cut."""
    return valid(text if len(text) <= limit else text[: limit - 1] + "…")
