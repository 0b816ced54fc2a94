"""No credential is shown, however the text that holds it arrives."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.ingress.writer.outbox import Outbox
from services.ingress.writer.pen import NOT_TEXT
from services.runtime.redact import MASK, SHAPES, Pieces, Redaction, secrets_in, settled

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


KNOWN, OTHER = "corp-proxy-ab12ab12", "ab12ab12-tail"


def test_secrets_are_known_by_their_names() -> None:
    environ = {"ANTHROPIC_AUTH_TOKEN": "one", "AWS_SECRET_ACCESS_KEY": "two", "PATH": "/bin", "LANG": "C"}
    assert secrets_in(environ) == ["one", "two"]


def test_each_value_of_a_variable_of_headers_is_a_secret_and_so_is_what_stands_behind_a_scheme() -> None:
    lines = "X-Team: mill wheels turn\nAuthorization: Bearer abc-123 \r\n"
    assert secrets_in({"ANTHROPIC_CUSTOM_HEADERS": lines}) == [
        lines,
        "mill wheels turn",
        "Bearer abc-123",
        "abc-123",
    ]
    assert secrets_in({"OTEL_EXPORTER_OTLP_HEADERS": "none"}) == ["none"]


@given(
    st.lists(
        st.sampled_from([KNOWN, OTHER, KNOWN[:9], OTHER[:7], "corp-", "ghp_", *SECRETS, " "]), max_size=8
    ),
    st.lists(st.integers(0, 60), max_size=20),
)
def test_pieces_with_known_values_join_to_the_redacted_text(parts: list[str], cuts: list[int]) -> None:
    redaction = Redaction([KNOWN, OTHER, "short"])
    whole, pieces, shown, at = "".join(parts), Pieces(redaction), "", 0
    for cut in cuts:
        shown += pieces.push(whole[at : at + cut])
        at += cut
        assert redaction.text(whole).startswith(shown)
    assert shown + pieces.push(whole[at:]) + pieces.flush() == redaction.text(whole)


def test_a_file_that_is_no_text_loses_known_values_alone() -> None:
    redaction = Redaction([KNOWN])
    assert redaction.data(b"\xff" + KNOWN.encode()) == b"\xff" + MASK.encode()
    assert redaction.data(SECRETS[0].encode()) == MASK.encode()


@pytest.mark.parametrize("secret", SECRETS)
def test_each_known_shape_is_masked(secret: str) -> None:
    assert SHAPES.text(f"before {secret}\nafter") == f"before {MASK}\nafter"


def test_ordinary_text_stays() -> None:
    text = "The box's fox: ghp is a prefix, sk-learn a library, -----BEGIN CERTIFICATE----- is public."
    assert SHAPES.text(text) == text


@given(PIECES, st.lists(st.integers(0, 200), max_size=20))
def test_a_stream_shows_what_the_whole_text_would_show(pieces: list[str], cuts: list[int]) -> None:
    text = "".join(pieces)
    redactor = Pieces()
    shown, rest = "", text
    for cut in cuts:
        shown += redactor.push(rest[:cut])
        assert SHAPES.text(text).startswith(shown)
        rest = rest[cut:]
    shown += redactor.push(rest) + redactor.flush()

    assert shown == SHAPES.text(text)


@given(PIECES)
def test_character_by_character_too(pieces: list[str]) -> None:
    text = "".join(pieces)
    redactor = Pieces()

    assert "".join(map(redactor.push, text)) + redactor.flush() == SHAPES.text(text)


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

    assert SHAPES.json(call, NOT_TEXT) == {
        "blocks": [{"type": "section", "text": {"text": MASK}}, {"value": token}],
        "text": [MASK],
        "n": 1,
    }
