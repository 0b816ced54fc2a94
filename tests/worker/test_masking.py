"""A secret value that the session was given is said by nobody, however it is cut into pieces."""

from hypothesis import given
from hypothesis import strategies as st

from schemas.ends import TurnEnd
from schemas.events import ToolFinished
from schemas.people import Person
from services.runtime.redact import MASK, Redaction
from services.worker.agents import protocol
from services.worker.masking import masked
from services.worker.narrate import Narrator

SECRET, OTHER = "corp-proxy-ab12ab12", "ab12ab12-tail"
redaction = Redaction([SECRET, OTHER, "short"])


def test_every_text_of_a_message_is_masked_and_short_words_are_left_alone() -> None:
    tool = ToolFinished(turn=1, call="c", ok=True, duration_ms=1, output=f"TOKEN={SECRET} short")
    assert masked(tool, redaction).output == f"TOKEN={MASK} short"
    end = TurnEnd(turn=1, outcome="completed", inputs=(1,), user=Person(id="U1", name=SECRET), text=SECRET)
    assert SECRET not in masked(end, redaction).encode().decode()
    quoted = Redaction(['pass"word\\8'])
    assert quoted.text('{"entry": "pass\\"word\\\\8"}') == f'{{"entry": "{MASK}"}}'


@given(
    st.lists(
        st.sampled_from([SECRET, OTHER, SECRET[:9], OTHER[:7], "corp-", "ab12", " words ", ""]), max_size=8
    ),
    st.data(),
)
def test_live_pieces_join_to_the_masked_text_and_show_no_secret(
    parts: list[str], data: st.DataObject
) -> None:
    whole = "".join(parts)
    narrator = Narrator(1, redaction)
    shown, at = "", 0
    while at < len(whole):
        size = data.draw(st.integers(1, len(whole) - at))
        piece = narrator.delta(protocol.TextDelta(whole[at : at + size]), 1)
        at += size
        if piece is not None:
            assert piece.offset == len(shown)
            shown += piece.text
    assert SECRET not in shown
    assert OTHER not in shown.replace(MASK, "|")
    assert redaction.text(whole).startswith(shown)
