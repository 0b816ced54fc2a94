"""How an object lies in a folder: a name that links to one immutable version beside it.

    v1/T1/C1/1-0/00000001.jsonl.gz -> .versions/00000001.jsonl.gz.<generation>
    v1/T1/C1/1-0/.versions/00000001.jsonl.gz.<generation>        the bytes
    v1/T1/C1/1-0/.versions/00000001.jsonl.gz.<generation>.json   their `ObjectInfo`

Placing the link is the one step that makes the object exist, so a crash leaves all of it or nothing. What a crash
left unlinked goes with the next write or delete of that name. Callers hold the store's lock.
"""

import os
import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import msgspec

from services.archiver.backend import Corrupt, Missing, ObjectInfo
from services.archiver.durable import make_folders, read_plain, remove_empty, sync_folder, write_new

_VERSIONS = ".versions"


def place(link: Path, info: ObjectInfo, data: bytes) -> None:
    """Make `link` the object that `info` and `data` tell, over whatever it was."""
    versions = link.parent / _VERSIONS
    make_folders(versions)
    write_new(_bytes(link, info.generation), data)
    write_new(_description(link, info.generation), msgspec.json.encode(info))
    ready = _unplaced(link)
    ready.unlink(missing_ok=True)
    ready.symlink_to(f"{_VERSIONS}/{link.name}.{info.generation}")
    sync_folder(versions)
    ready.replace(link)
    sync_folder(link.parent)
    _sweep(link, keep=info.generation)


def describe(link: Path) -> ObjectInfo:
    """Raises `Missing` and `Corrupt`."""
    description = _description(link, _current(link))
    try:
        return msgspec.json.decode(read_plain(description), type=ObjectInfo)
    except (FileNotFoundError, msgspec.DecodeError) as e:
        raise Corrupt(f"The description of {link.name} cannot be read: {e}; restore it from a backup") from e


def find(link: Path) -> ObjectInfo | None:
    """Like `describe`, None for what is not there."""
    try:
        return describe(link)
    except Missing:
        return None


def read(link: Path, generation: int) -> bytes:
    """Return the bytes of one version. Raises `Missing`."""
    try:
        return read_plain(_bytes(link, generation))
    except FileNotFoundError as e:
        raise Missing(f"{link.name} was deleted in part; delete it again") from e


def remove(link: Path, root: Path) -> int:
    """Remove every version and return their number; the folders, too, that are then empty."""
    found = _generations(link)
    # The description goes last: an interrupted removal stays in the listing, to be found and ended.
    for generation in found:
        _bytes(link, generation).unlink(missing_ok=True)
    link.unlink(missing_ok=True)
    _sweep(link, keep=None)
    with suppress(FileNotFoundError):
        sync_folder(link.parent)
    remove_empty(link.parent / _VERSIONS, root)
    remove_empty(link.parent, root)
    return len(found)


def walk(root: Path, folder: str, prefix: str, start_after: str) -> Iterator[str]:
    """Yield names in byte order of the whole name, in which a folder sorts as if its name ended with a slash."""
    for name, is_folder in _entries(root, f"{folder}/" if folder else ""):
        if not is_folder:
            if name.startswith(prefix) and name > start_after:
                yield name
        elif (name.startswith(prefix) or prefix.startswith(name)) and start_after[: len(name)] <= name:
            yield from walk(root, name[:-1], prefix, start_after)


def _entries(root: Path, above: str) -> list[tuple[str, bool]]:
    try:
        found = [e for e in os.scandir(root / above) if not e.name.startswith(".")]
    except (FileNotFoundError, NotADirectoryError):
        return []
    links = [(above + e.name, False) for e in found if e.is_symlink()]
    return sorted(links + [(f"{above}{e.name}/", True) for e in found if e.is_dir(follow_symlinks=False)])


def _bytes(link: Path, generation: int) -> Path:
    return link.parent / _VERSIONS / f"{link.name}.{generation}"


def _description(link: Path, generation: int) -> Path:
    return link.parent / _VERSIONS / f"{link.name}.{generation}.json"


def _unplaced(link: Path) -> Path:
    return link.parent / _VERSIONS / f"{link.name}.link"


def _current(link: Path) -> int:
    try:
        target = os.readlink(link)  # noqa: PTH115 - its text is checked before it is a path
    except (FileNotFoundError, NotADirectoryError) as e:
        raise Missing(f"There is no object {link.name}") from e
    match = re.fullmatch(rf"{re.escape(f'{_VERSIONS}/{link.name}')}\.([0-9]{{1,20}})", target)
    if match is None:
        raise Corrupt(f"{link.name} links to what is no version of it; remove the link")
    return int(match[1])


def _generations(link: Path) -> set[int]:
    pattern = re.compile(rf"{re.escape(link.name)}\.([0-9]{{1,20}})(\.json)?")
    try:
        names = os.listdir(link.parent / _VERSIONS)  # noqa: PTH208 - names alone are wanted
    except (FileNotFoundError, NotADirectoryError):
        return set()
    return {int(match[1]) for name in names if (match := pattern.fullmatch(name))}


def _sweep(link: Path, *, keep: int | None) -> None:
    for generation in _generations(link) - {keep}:
        _bytes(link, generation).unlink(missing_ok=True)
        _description(link, generation).unlink(missing_ok=True)
    _unplaced(link).unlink(missing_ok=True)
