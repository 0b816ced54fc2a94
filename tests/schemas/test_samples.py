"""Every message that was ever published can still be read: golden samples, refreshed by --refresh-samples, never deleted."""

import importlib
import pkgutil
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest

import schemas
from schemas.base import Message

SAMPLES = Path(__file__).parent / "samples"
MOMENT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def kinds() -> dict[str, type[Message]]:
    for module in pkgutil.iter_modules(schemas.__path__):
        importlib.import_module(f"schemas.{module.name}")
    found: dict[str, type[Message]] = {}
    todo = list(Message.__subclasses__())
    while todo:
        kind = todo.pop()
        todo += kind.__subclasses__()
        if not kind.__subclasses__():
            found[f"{kind.__module__.removeprefix('schemas.')}.{kind.kind()}"] = kind
    return found


def example(hint: Any) -> Any:
    """Return a value of the type that `hint` names."""
    info = msgspec.inspect.type_info(hint) if not isinstance(hint, msgspec.inspect.Type) else hint
    match info:
        case msgspec.inspect.StructType():
            return {field.encode_name: example(field.type) for field in info.fields} | (
                {info.tag_field: info.tag} if info.tag_field else {}
            )
        case msgspec.inspect.UnionType():
            return example(
                next(kind for kind in info.types if not isinstance(kind, msgspec.inspect.NoneType))
            )
        case msgspec.inspect.LiteralType():
            return min(info.values)
        case msgspec.inspect.VarTupleType():
            return [example(info.item_type)]
        case msgspec.inspect.DictType():
            return {"name": "value"}
        case _:
            return SIMPLE[type(info)]


SIMPLE: dict[type, Any] = {
    msgspec.inspect.StrType: "text-1",
    msgspec.inspect.IntType: 7,
    msgspec.inspect.FloatType: 1.5,
    msgspec.inspect.BoolType: True,
    msgspec.inspect.DateTimeType: MOMENT.isoformat().replace("+00:00", "Z"),
    msgspec.inspect.BytesType: "YQ==",
    msgspec.inspect.RawType: {"any": "thing"},
}


@pytest.fixture
def refresh(request: pytest.FixtureRequest) -> bool:
    return bool(request.config.getoption("--refresh-samples"))


@pytest.mark.parametrize("name", sorted(kinds()))
def test_every_message_has_a_sample_of_its_present_shape(name: str, refresh: bool) -> None:
    kind = kinds()[name]
    wanted = msgspec.json.format(msgspec.json.encode(example(kind)), indent=2) + b"\n"
    path = SAMPLES / f"{name}.{kind.version}.json"
    if refresh:
        path.write_bytes(wanted)
    assert path.read_bytes() == wanted, (
        "the message changed: run pytest --refresh-samples and read the difference"
    )


@pytest.mark.parametrize("path", sorted(SAMPLES.glob("*.json")), ids=lambda path: path.stem)
def test_every_sample_that_ever_was_is_still_understood(path: Path) -> None:
    name = path.stem.rsplit(".", 1)[0]
    message = kinds()[name].decode(path.read_bytes())
    assert kinds()[name].decode(message.encode()) == message


@pytest.mark.parametrize("name", sorted(kinds()))
def test_fields_that_are_still_to_come_are_tolerated(name: str) -> None:
    kind = kinds()[name]
    newer = example(kind) | {"a_field_of_the_future": [1]}
    assert kind.decode(msgspec.json.encode(newer)) == kind.decode(msgspec.json.encode(example(kind)))
