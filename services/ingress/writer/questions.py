"""A question of the agent as people see it: with its buttons, then with who answered what. Pure."""

import contextlib
from collections.abc import Iterator

from schemas.events import QuestionAsked, QuestionClosed
from schemas.keys import InvalidKey, SessionKey
from services.ingress import buttons
from services.ingress.slack_api import Json
from services.ingress.writer import blocks

DETAIL, PLAN = 2_500, 11_000
HEADS = {"permission": ":lock: *May I do this?*", "choice": ":question:", "plan": ":clipboard:"}
LABELS = {
    "allow_once": "Allow once", "allow_session": "Allow for this session", "deny": "Deny",
    "approve": "Approve", "revise": "Request changes",
}  # fmt: skip
CHOICES = {"permission": buttons.PERMISSION_CHOICES, "plan": ("approve", "revise")}
STYLES = {"allow_once": "primary", "deny": "danger", "approve": "primary"}


def _asked(question: QuestionAsked) -> list[Json]:
    shown = [blocks.section(f"{HEADS[question.about]} {blocks.escape(blocks.short(question.title, 500))}")]
    if question.detail:
        detail = blocks.short(question.detail, PLAN if question.about == "plan" else DETAIL)
        shown.append(blocks.markdown(detail if question.about == "plan" else blocks.fenced(detail)))
    return shown


def question(key: SessionKey, asked: QuestionAsked) -> list[Json]:
    """A question with a button for each choice."""
    row = list(_choices(key, asked))
    if not row:
        return [*_asked(asked), blocks.context("Answer in this thread.")]
    more = [blocks.context("Or answer in this thread.")] if asked.about != "permission" else []
    return [*_asked(asked), blocks.actions(*row), *more]


def _choices(key: SessionKey, asked: QuestionAsked) -> Iterator[Json]:
    choices = asked.choices or CHOICES.get(asked.about, ())
    for place, choice in enumerate(choices[: buttons.MOST_CHOICES]):
        # A choice that no button can hold may still be written.
        with contextlib.suppress(buttons.InvalidButton, InvalidKey):
            made = buttons.answer(key, asked.id, place, choice)
            yield blocks.button(LABELS.get(choice, choice), made, STYLES.get(choice, ""))


def answered(asked: QuestionAsked, closed: QuestionClosed) -> list[Json]:
    """The same question with who answered what in the place of its buttons."""
    return [*_asked(asked), blocks.context(answer_line(closed))]


def answer_line(closed: QuestionClosed) -> str:
    """Who answered what."""
    if closed.by is None:
        return ":heavy_minus_sign: Not answered."
    who = f"<@{closed.by.id}>"
    words = LABELS.get(closed.choice, closed.choice) if closed.choice else ""
    said = ": ".join(part for part in (words, closed.text) if part)
    return f":ballot_box_with_check: {who} answered *{blocks.escape(blocks.short(said, 1_000))}*"
