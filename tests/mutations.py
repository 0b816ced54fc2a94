"""JSON as strangers bend it: a payload of a real shape, of which a few parts are gone, replaced, or said twice."""

import copy
import json
from collections.abc import Iterator
from typing import Any

from hypothesis import strategies as st

# What Python's own encoder cannot write stands for itself until the end.
RAW = {
    "@deep@": b"[" * 2_000 + b"]" * 2_000,
    "@open@": b"[" * 20_000,
    "@bytes@": b'"\xff\xfe\x00"',
    "@digits@": b"1" * 5_000,
    "@nan@": b"NaN",
    "@far@": b"1e400",
}
ODD: tuple[Any, ...] = (
    *(None, True, 0, -1, 1.5, 1e308, 2**63, 10**30),
    *(
        "",
        " ",
        "\0",
        "\r\n",
        "ü",
        "e\u0301",
        "\u202e",
        "\ud800",
        "*",
        ">",
        "a.b",
        "../..",
        "x" * 64,
        "x" * 70_000,
    ),
    *("&#" + "1" * 5_000 + ";", "<@" * 5_000),
    *("9999999999999999.1", "0.0", "1.1.1", "-1.1", "0001-01-01T00:00:00+23:59", "2026-01-01T00:00:00"),
    *([], {}, [[]], {"": {}}, [None], {"type": "message"}),
    *RAW,
)


@st.composite
def mutated(draw: st.DrawFn, payload: Any) -> bytes:
    """Return the bytes of `payload` after one to three changes."""
    whole = copy.deepcopy(payload)
    for _ in range(draw(st.integers(1, 3))):
        places = list(_places(whole))
        if not places:
            break
        holder, name = draw(st.sampled_from(places))
        if draw(st.booleans()):
            del holder[name]
        else:
            holder[name] = copy.deepcopy(draw(st.sampled_from(ODD)))
    text = _bytes(whole)
    if isinstance(whole, dict) and whole and draw(st.integers(0, 9)) == 0:
        twice = draw(st.sampled_from(sorted(whole)))
        text = text[:-1] + b"," + _bytes({twice: draw(st.sampled_from(ODD))})[1:]
    return text


def _places(part: Any) -> Iterator[tuple[Any, Any]]:
    """Yield every place in `part`: what holds it, and its name or number there."""
    for name, value in list(part.items() if isinstance(part, dict) else enumerate(part)):
        yield part, name
        if isinstance(value, dict | list):
            yield from _places(value)


def _bytes(whole: Any) -> bytes:
    text = json.dumps(whole).encode()
    for mark, raw in RAW.items():
        text = text.replace(json.dumps(mark).encode(), raw)
    return text
