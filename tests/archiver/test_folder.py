"""What a folder must stand that a bucket never sees: crashes, a full disk, other people, damage by hand."""

import asyncio
import contextlib
import fcntl
import resource
import shutil
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from services.archiver.backend import Corrupt, Missing, StoreError, Unavailable
from services.archiver.folder import Folder
from services.archiver.store import Store
from tests.archiver import crash_points
from tests.archiver.stage import described

NAME = "v1/T1/C1/1-0/00000001.jsonl.gz"
GZIP = "application/gzip"


@pytest.fixture
async def store(folder):
    store = Store(Folder(folder))
    yield store
    await store.close()


def crash(root, what):
    command = [sys.executable, "-m", crash_points.__name__, str(root), what]
    subprocess.run(command, check=True, timeout=100, cwd=Path(crash_points.__file__).parents[2])
    roots = sorted(root.iterdir(), key=lambda path: int(path.name))
    assert len(roots) > 20
    return roots


async def state(store):
    """The object as everybody sees it: listed and read alike."""
    infos = [info async for info in store.list("")]
    if not infos:
        with pytest.raises(Missing):
            await store.read(crash_points.NAME)
        return None
    (info,) = infos
    assert await store.read(crash_points.NAME) == info.metadata["version"].encode() * 1000
    return info.metadata["version"]


def files(root):
    return sorted(path.relative_to(root).as_posix() for path in root.rglob("*") if path.name != ".lock")


@pytest.mark.parametrize(("what", "before"), [("create", None), ("replace", "old")])
async def test_a_write_that_was_killed_anywhere_is_whole_or_not_there(tmp_path, what, before):
    states = []
    for root in crash(tmp_path / what, what):
        store = Store(Folder(root))
        states.append(await state(store))
        seen = await described(store, crash_points.NAME) if states[-1] else None
        new = crash_points.upload("new", 0)
        repeated = await store.replace(
            new.name, new.data, new.metadata, seen.generation if seen else None, new.content_type
        )
        assert await state(store) == "new"
        if states[-1] == "new":
            assert repeated == seen
        assert await store.delete_all_generations(new.name) >= 1
        assert files(root) == []
        await store.close()
    # Killed early it is as before, killed late it is done, and never in between.
    assert states == [before] * states.count(before) + ["new"] * states.count("new")
    assert states.count(before) > 10
    assert states.count("new") > 1


async def test_a_delete_that_was_killed_anywhere_can_be_found_and_ended(tmp_path):
    for root in crash(tmp_path, "delete"):
        store = Store(Folder(root))
        listed = [info.name async for info in store.list("")]
        content = [path for path in root.rglob(".versions/summary.json.*") if path.suffix != ".json"]
        assert listed == [crash_points.NAME] or content == []
        await store.delete_all_generations(crash_points.NAME)
        assert await state(store) is None
        assert files(root) == []
        await store.close()


async def test_only_the_owner_may_look_in(folder, store):
    await store.create(NAME, b"bytes", {}, GZIP)
    for path in [folder, *folder.rglob("*")]:
        if not path.is_symlink():
            assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600), path


async def test_an_object_is_a_file_that_other_tools_read(folder, store):
    await store.create(NAME, b"bytes", {}, GZIP)
    assert (folder / NAME).read_bytes() == b"bytes"
    shutil.copytree(folder, folder.with_name("backup"), symlinks=True)
    restored = Store(Folder(folder.with_name("backup")))
    assert await described(restored, NAME) == await described(store, NAME)
    assert await restored.read(NAME) == b"bytes"
    await restored.close()


@given(
    name=st.text(max_size=60)
    | st.lists(st.sampled_from(["..", ".", "", "a", ".versions", "\0", "~"])).map("/".join)
)
@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_no_name_leads_out_of_the_folder(name):
    async def write(root):
        store = Store(Folder(root))
        with contextlib.suppress(StoreError):
            await store.create(name, b"bytes", {}, GZIP)
            assert (root / name).resolve().is_relative_to(root.resolve())
        await store.close()

    with tempfile.TemporaryDirectory() as above:
        asyncio.run(write(Path(above) / "root"))
        assert {path.name for path in Path(above).iterdir()} <= {"root"}


async def test_a_link_that_leads_elsewhere_is_not_followed(folder, store, tmp_path):
    (tmp_path / "secret").write_text("secret")
    await store.create(NAME, b"bytes", {}, GZIP)
    (folder / NAME).unlink()
    for target in (tmp_path / "secret", "../../secret", ".versions/../x.1"):
        (folder / NAME).symlink_to(target)
        with pytest.raises(Corrupt, match="remove the link"):
            await store.read(NAME)
        (folder / NAME).unlink()


@pytest.mark.parametrize("suffix", ["", ".json"])
async def test_damage_is_told_and_never_returned(folder, store, suffix):
    info = await store.create(NAME, b"bytes", {}, GZIP)
    path = (folder / NAME).parent / ".versions" / f"00000001.jsonl.gz.{info.generation}{suffix}"
    path.write_bytes(b"bytez")
    with pytest.raises(Corrupt, match="restore it from a backup"):
        await store.read(NAME)
    if suffix:
        path.unlink()
        with pytest.raises(Corrupt, match="restore it from a backup"):
            await store.create(NAME, b"other", {}, GZIP)


async def test_a_folder_held_by_another_process_is_unavailable_at_the_deadline(folder, store):
    await store.create(NAME, b"bytes", {}, GZIP)
    hasty = Store(Folder(folder), deadline=0.2)
    with (folder / ".lock").open("rb") as lock:
        fcntl.flock(lock, fcntl.LOCK_SH)
        with pytest.raises(Unavailable):
            await hasty.create(NAME, b"bytes", {}, GZIP)
        assert await store.read(NAME) == b"bytes"
    assert await store.create(NAME, b"bytes", {}, GZIP) == await described(store, NAME)
    await hasty.close()


async def test_a_folder_that_cannot_be_made_is_unavailable(tmp_path):
    (tmp_path / "file").write_text("")
    store = Store(Folder(tmp_path / "file" / "objects"))
    with pytest.raises(Unavailable, match="free or repair it"):
        await store.create(NAME, b"bytes", {}, GZIP)
    await store.close()


async def test_a_write_that_does_not_fit_is_unavailable_and_leaves_nothing(folder, store):
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, before[1]))  # the kernel refuses the file's second page
    try:
        with pytest.raises(Unavailable, match="free or repair it"):
            await store.create(NAME, bytes(100_000), {}, GZIP)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert [info async for info in store.list("")] == []
    await store.create(NAME, bytes(100_000), {}, GZIP)
    assert await store.read(NAME) == bytes(100_000)
    assert len([path for path in files(folder) if ".versions/" in path]) == 2
