"""No credential is shown, however the text that holds it arrives."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.ingress.writer.outbox import Outbox
from services.ingress.writer.redact import MASK, Redactor, redact, redact_json, settled

PEM = "-----BEGIN RSA PRIVATE KEY-----\nMIIEow\nabc/+=\n-----END RSA PRIVATE KEY-----"
SECRETS = [
    "xoxb-" + "1234567890-abcdef",
    "xoxe.xoxp-" + "1-abcdefgh",
    "xapp-1-" + "A1-abcdefgh",
    "sk-ant-" + "api03-abc_def-0123456789",
    "ghp_" + "a" * 36,
    "github_pat_" + "11ABCDEFG_abcdefghij",
    "AKIA" + "ABCDEFGHIJKLMNOP",
    "ASIA" + "ABCDEFGHIJKLMNOP",
    "aws_secret_access_key = wJalrXUtnFEMI/K7MDENG",
    PEM,
]
PIECES = st.lists(
    st.one_of(
        st.sampled_from(SECRETS),
        st.sampled_from(
            [
                "x",
                "xo",
                "xox",
                "gh",
                "ghp_",
                "-----BEGIN ",
                "-----BEGIN CERTIFICATE-----",
                "-----",
                "A",
                "AWS_secret",
            ]
        ),
        st.text(alphabet="ab -_.\nxoghpskAKI", max_size=30),
        st.text(max_size=10),
    ),
    max_size=12,
)


@pytest.mark.parametrize("secret", SECRETS)
def test_each_known_shape_is_masked(secret: str) -> None:
    assert redact(f"before {secret}\nafter") == f"before {MASK}\nafter"


def test_ordinary_text_stays() -> None:
    text = "The box's fox: ghp is a prefix, sk-learn a library, -----BEGIN CERTIFICATE----- is public."
    assert redact(text) == text


@given(PIECES, st.lists(st.integers(0, 200), max_size=20))
def test_a_stream_shows_what_the_whole_text_would_show(pieces: list[str], cuts: list[int]) -> None:
    text = "".join(pieces)
    redactor = Redactor()
    shown, rest = "", text
    for cut in cuts:
        shown += redactor.push(rest[:cut])
        assert redact(text).startswith(shown)
        rest = rest[cut:]
    shown += redactor.push(rest) + redactor.flush()

    assert shown == redact(text)


@given(PIECES)
def test_character_by_character_too(pieces: list[str]) -> None:
    text = "".join(pieces)
    redactor = Redactor()

    assert "".join(map(redactor.push, text)) + redactor.flush() == redact(text)


def test_ordinary_words_do_not_wait() -> None:
    assert settled("Hello there, how are you?") == len("Hello there, how are you?")
    assert settled("Here it is: ghp_abc") == len("Here it is: ")


def test_appends_cut_in_the_middle_of_a_secret_never_show_it() -> None:
    outbox = Outbox()
    sent = []
    for piece in ("Token: gh", "p_aaaaaaaa", "aaaaaaaaaaaaaaaaaaaaaaaaaaaa", " end"):
        outbox.text(piece, closed=False)
        sent += outbox.take()

    assert "".join(chunk["text"] for chunk in sent) == f"Token: {MASK} end"


def test_everything_in_a_call_is_redacted_but_its_encodings() -> None:
    token = SECRETS[0]
    call = {
        "blocks": [{"type": "section", "text": {"text": token}}, {"value": token}],
        "text": [token],
        "n": 1,
    }

    assert redact_json(call) == {
        "blocks": [{"type": "section", "text": {"text": MASK}}, {"value": token}],
        "text": [MASK],
        "n": 1,
    }
