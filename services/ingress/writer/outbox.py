"""What a stream still has to say: text runs together, a card or a plan's title is overtaken by its newer self. Pure."""

from services.ingress.slack_api import Json
from services.ingress.writer.blocks import text_chunk
from services.runtime.redact import Pieces

MOST_CHUNKS = 40


class Outbox:
    """Chunks in order, not acknowledged yet. The text in them is redacted across the borders of appends."""

    # Slack takes 12,000 characters in a call.
    most_text = 11_500

    def __init__(self) -> None:
        self._chunks: list[Json] = []
        self._redactor = Pieces()
        self._begun = self._gap = False
        self._reopened = ""

    def __bool__(self) -> bool:
        """Whether there is something to send."""
        return bool(self._chunks)

    def text(self, text: str, *, closed: bool) -> None:
        """Add text; `closed` ends its block, and the next one stands apart."""
        shown = self._redactor.push(text) + (self._redactor.flush() if closed else "")
        if shown:
            self._add_text(("\n\n" if self._gap else "") + shown)
            self._begun, self._gap = True, False
        self._gap = self._gap or (closed and self._begun)

    def _add_text(self, text: str) -> None:
        if self._reopened:
            text, self._reopened = f"{self._reopened}\n{text}", ""
        if self._chunks and self._chunks[-1]["type"] == "markdown_text":
            self._chunks[-1] = text_chunk(self._chunks[-1]["text"] + text)
        else:
            self._chunks.append(text_chunk(text))

    def card(self, chunk: Json) -> None:
        """Add a card, or bring a waiting one up to date."""
        self._replace_or_add(chunk, "id")

    def plan(self, chunk: Json) -> None:
        """Name the plan."""
        self._replace_or_add(chunk, "type")

    def _replace_or_add(self, chunk: Json, by: str) -> None:
        for place, waiting in enumerate(self._chunks):
            if waiting["type"] == chunk["type"] and waiting[by] == chunk[by]:
                self._chunks[place] = chunk
                return
        self._chunks.append(chunk)

    def take(self) -> list[Json]:
        """Take what one call may carry."""
        taken: list[Json] = []
        room = self.most_text
        while self._chunks and room > 0 and len(taken) < MOST_CHUNKS:
            chunk = self._chunks.pop(0)
            if chunk["type"] == "markdown_text":
                text = chunk["text"]
                if len(text) > room:
                    self._chunks.insert(0, text_chunk(text[room:]))
                    chunk = text_chunk(text[:room])
                room -= len(chunk["text"])
            taken.append(chunk)
        return taken

    def take_all(self) -> list[Json]:
        """Take everything, what the redactor holds back included: nothing follows."""
        self.text("", closed=True)
        taken, self._chunks = self._chunks, []
        return taken

    def put_back(self, chunks: list[Json], *, reopened: str = "") -> None:
        """Put back what was not acknowledged; `reopened` is the fence that the next text has to open again."""
        waiting, self._chunks = self._chunks, []
        self._reopened = reopened or self._reopened
        for chunk in (*chunks, *waiting):
            match chunk["type"]:
                case "markdown_text":
                    self._add_text(chunk["text"])
                case "task_update":
                    self.card(chunk)
                case _:
                    self.plan(chunk)
