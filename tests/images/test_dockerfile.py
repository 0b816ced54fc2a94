"""What can be said of the images without building them."""

import re
import tomllib

import pytest

from tests.images.engine import ALLOWED, IMAGES, ROOT, SUMS, Dockerfile

LOCKS = {image: f"requirements/{'local' if image == 'all-in-one' else image}.lock" for image in IMAGES}


def test_every_image_begins_with_a_digest_or_with_nothing() -> None:
    known = {"scratch"} | {f"${{{argument}}}" for argument in Dockerfile().bases}
    for begins_with, stage in Dockerfile().stages:
        assert begins_with in known, f"{stage} begins with {begins_with}"
        known.add(stage)
    for argument, base in Dockerfile().bases.items():
        assert re.fullmatch(r"[\w./-]+:[\w.-]+@sha256:[0-9a-f]{64}", base), (
            f"{argument} is not pinned by a digest"
        )


def test_whatever_ends_in_an_image_has_taken_up_debians_updates() -> None:
    (updated, *others) = [stage for base, stage in Dockerfile().stages if base == "${BASE}"]
    assert not others
    (text,) = re.findall(
        rf"^FROM \S+ AS {updated}\n(.*?)(?=^FROM )", Dockerfile().text, re.MULTILINE | re.DOTALL
    )
    assert "apt-get upgrade -y" in text


def test_there_is_one_target_per_image() -> None:
    assert set(IMAGES) <= {stage for _, stage in Dockerfile().stages}


@pytest.mark.parametrize(("image", "lock"), LOCKS.items())
def test_what_an_image_installs_is_locked_by_hashes(image: str, lock: str) -> None:
    assert f"sh delivery/environment {lock}" in Dockerfile().text
    pins = re.findall(
        r"^\S+==.*(?:\n    --hash=sha256:[0-9a-f]{64}.*)+", (ROOT / lock).read_text(), re.MULTILINE
    )
    names = re.findall(r"^[a-z0-9]\S*==", (ROOT / lock).read_text(), re.MULTILINE)
    assert names
    assert len(pins) == len(names)


def test_the_checksums_are_those_of_the_locked_claude_code() -> None:
    pinned = re.search(
        r"^claude-agent-sdk==\S+", (ROOT / "requirements" / "worker.lock").read_text(), re.MULTILINE
    )
    assert pinned
    assert f"The Claude Code of {pinned[0]};" in SUMS.read_text(), "`make lock` writes the checksums anew"
    assert re.findall(r"^[0-9a-f]{64}  (\S+)$", SUMS.read_text(), re.MULTILINE) == [
        "linux-amd64",
        "linux-arm64",
    ]


def test_only_what_is_named_reaches_a_build() -> None:
    rules = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line and line[0] != "#"]
    assert rules[0] == "*"
    copied = {
        source.split("/")[0]
        for line in re.findall(r"^COPY (?!--from)(.+) \S+$", Dockerfile().text, re.MULTILINE)
        for source in line.split()
    }
    assert copied == set(ALLOWED)


def test_what_an_image_needs_is_an_extra() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert {lock.removeprefix("requirements/").removesuffix(".lock") for lock in LOCKS.values()} == set(
        extras
    )
