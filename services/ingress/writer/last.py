"""What makes a live stream the turn's final message. Pure."""

from services.ingress.slack_api import Json
from services.ingress.writer.blocks import text_chunk
from services.ingress.writer.ledger import carries
from services.ingress.writer.outbox import Outbox
from services.ingress.writer.stream import MOST_TEXT, text_of


def last_chunks(shown: str, waiting: list[Json], lead: str, text: str, *, whole: bool) -> list[Json] | None:
    """Return the chunks that end a stream which shows `shown`, so that it carries `lead` and all of `text`.

    `whole` tells that it shows the turn from its beginning; another one stands for the final message only where it carries
    the whole text already. None where the final message must be posted.
    """
    said = shown + text_of(waiting)
    carried = carries(said, text)
    if not (whole or (carried and text.strip())):
        return None
    missing = [lead] if carried else [lead, text]
    chunks = [*waiting, *(text_chunk(f"\n\n{part}") for part in missing if part)]
    added = len(text_of(chunks))
    return chunks if added <= Outbox.most_text and len(shown) + added <= MOST_TEXT else None
