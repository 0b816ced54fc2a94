"""Settings from the environment: a Struct says what there is, and every problem is reported at once."""

import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from services.runtime.errors import SettingsError

PREFIX = "THREADMILL_"
S = TypeVar("S", bound=msgspec.Struct)


def load(kind: type[S], environ: Mapping[str, str], *, prefix: str = PREFIX, strict: bool = False) -> S:
    """Return `kind` filled from `environ`.

    A field `max_workers` is `<prefix>MAX_WORKERS`, or the name that its `extra={"env": ...}` gives; a field that is a
    Struct is filled with its own name as further prefix. Tuples are split on commas; an empty variable counts as
    absent. With `strict`, or a field of that name that is set, a variable with the prefix that nobody asks for is a problem
    too. Raises `SettingsError` naming every problem.
    """
    problems: list[str] = []
    asked: set[str] = set()
    filled = _fill(kind, environ, prefix, problems, asked)
    if strict or filled.get("strict"):
        unknown = sorted(name for name in environ if name.startswith(prefix) and name not in asked)
        problems += [f"{name} is not a setting" for name in unknown]
    if problems:
        raise SettingsError("these settings cannot be used: " + "; ".join(problems))
    try:
        return msgspec.convert(filled, kind, dec_hook=_path)
    except msgspec.ValidationError as e:  # what a Struct itself refuses once it is whole
        raise SettingsError(f"these settings cannot be used: {e}") from e


def names(kind: type[msgspec.Struct], prefix: str = PREFIX) -> list[str]:
    """Return the variables that `kind` reads."""
    asked: set[str] = set()
    _fill(kind, {}, prefix, [], asked)
    return sorted(asked)


def _fill(
    kind: type[msgspec.Struct], environ: Mapping[str, str], prefix: str, problems: list[str], asked: set[str]
) -> dict[str, Any]:
    filled: dict[str, Any] = {}
    hints = typing.get_type_hints(kind, include_extras=True)
    for field in msgspec.structs.fields(kind):
        hint = hints[field.name]
        if isinstance(hint, type) and issubclass(hint, msgspec.Struct):
            filled[field.name] = _fill(hint, environ, f"{prefix}{field.name.upper()}_", problems, asked)
            continue
        name = _variable(hint, prefix, field.name)
        asked.add(name)
        if environ.get(name, "") == "":
            if field.required:
                problems.append(f"{name} is missing")
            continue
        try:
            filled[field.name] = _convert(environ[name], hint)
        except msgspec.ValidationError as e:
            problems.append(f"{name}: {e}")
    return filled


def _variable(hint: Any, prefix: str, field: str) -> str:
    for extra in getattr(hint, "__metadata__", ()):
        if isinstance(extra, msgspec.Meta) and extra.extra and "env" in extra.extra:
            return str(extra.extra["env"])
    return f"{prefix}{field.upper()}"


def _convert(text: str, hint: Any) -> Any:
    plain = typing.get_args(hint)[0] if hasattr(hint, "__metadata__") else hint
    if typing.get_origin(plain) is tuple:
        parts = tuple(part.strip() for part in text.split(",") if part.strip())
        return msgspec.convert(parts, hint, strict=False, dec_hook=_path)
    return msgspec.convert(text, hint, strict=False, dec_hook=_path)


def _path(kind: type, value: Any) -> Any:
    if kind is Path and isinstance(value, (str, Path)):
        return Path(value)
    raise NotImplementedError(f"no setting can be a {kind}")  # msgspec's own protocol for "not mine"
