"""JSON as strangers bend it: a payload of a real shape, of which a few parts are gone, replaced, or said twice."""

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

SAMPLES = Path(__file__).parent / "schemas" / "samples"
# Where a session's messages stand, by the module of their schema.
LEAVES = {"inputs": "in", "events": "out", "ends": "end", "state": "state", "live": "live"}
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


def golden(name: str) -> Any:
    """Return the golden sample of the message `name`, such as `inputs.said`."""
    return json.loads((SAMPLES / f"{name}.1.json").read_text())


def strangers(*leaves: str) -> st.SearchStrategy[list[tuple[str, bytes]]]:
    """Draw messages with something wrong, each with the leaf under which it stands in a session's log."""
    names = sorted(path.name.removesuffix(".1.json") for path in SAMPLES.glob("*.1.json"))
    known = [(leaf, name) for name in names if (leaf := leaf_of(name)) in leaves]
    one = st.sampled_from(known).flatmap(lambda each: st.tuples(st.just(each[0]), mutated(golden(each[1]))))
    return st.lists(one, min_size=1, max_size=6)


def leaf_of(name: str) -> str:
    """Return the leaf of the message `name`, empty where it stands in no session's log."""
    if name in {"inputs.stop", "inputs.close"}:
        return "control"
    return LEAVES.get(name.partition(".")[0], "")
