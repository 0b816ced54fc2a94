"""The steps that name and sign images, and wait for them."""

from tests.workflows.bench import REGISTRY, Bench, digest


def test_an_architecture_is_noted_once_its_bill_of_materials_is_attached(bench: Bench) -> None:
    assert bench.run("attest", IMAGE="worker", DIGEST="sha256:abc").returncode == 0
    (attested,) = bench.calls
    assert attested.endswith(f"{REGISTRY}/worker@sha256:abc")
    assert [note.name for note in (bench.folder / ".cache" / "digests").iterdir()] == ["abc"]


def test_an_image_gets_its_name_with_both_architectures_and_is_signed_by_digest(bench: Bench) -> None:
    for each in ("sha256:aaa", "sha256:bbb"):
        bench.run("attest", IMAGE="worker", DIGEST=each)
    assert bench.run("publish", IMAGE="worker", TAG="v1.0.0").returncode == 0
    created, _, signed = bench.calls[2:]
    assert f"--tag {REGISTRY}/worker:v1.0.0" in created
    assert f"{REGISTRY}/worker@sha256:aaa {REGISTRY}/worker@sha256:bbb" in created
    assert signed == f"cosign sign --yes --recursive {REGISTRY}/worker@sha256:{digest('worker')}"


def test_an_image_of_one_architecture_gets_no_name(bench: Bench) -> None:
    bench.run("attest", IMAGE="worker", DIGEST="sha256:aaa")
    assert bench.run("publish", IMAGE="worker", TAG="v1.0.0").returncode
    assert not [call for call in bench.calls if call.startswith("docker")]


def test_a_version_is_awaited_until_its_images_are_there(bench: Bench) -> None:
    bench.unbuilt.touch()
    ended = bench.run("await", VERSION="v1.0.0", SIGNER="https://example", MINUTES="3")
    assert ended.returncode == 0, ended.stderr
    told = [f"minute {minute}: not all images of v1.0.0 are there yet: not found" for minute in (1, 2, 3)]
    assert ended.stdout.splitlines() == told
    assert len([call for call in bench.calls if call.startswith("cosign verify")]) == 5


def test_a_version_that_nobody_signs_within_the_hour_is_awaited_no_longer(bench: Bench) -> None:
    ended = bench.run("await", VERSION="v1.0.0", SIGNER="https://example", UNSIGNED="/worker@")
    assert ended.returncode
    assert ended.stderr == "the images of v1.0.0 did not come\n"
    assert {call for call in bench.calls if call.startswith("sleep")} == {"sleep 60"}
    assert len(ended.stdout.splitlines()) < 60
