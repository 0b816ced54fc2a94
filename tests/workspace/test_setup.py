"""The repository's own preparation: once, with a deadline, and what it said when it failed."""

import asyncio

import psutil
import pytest

from tests.workspace.people import alive, git, soon

ENV = {"PATH": "/usr/bin:/bin", "GREETING": "hello"}


@pytest.fixture
async def with_setup(opened, bare, tmp_path):
    """Open a workspace whose repository has this `.threadmill/setup`."""

    async def make(script: str, mode: int = 0o755):
        seeded = tmp_path / "seed/.threadmill/setup"
        seeded.parent.mkdir(exist_ok=True)
        seeded.write_text(script)
        seeded.chmod(mode)
        git(tmp_path / "seed", "add", "-A")
        git(tmp_path / "seed", "commit", "-qm", "Setup")
        git(tmp_path / "seed", "push", "-q", "origin", "main")
        return await opened("a", bare)

    return make


def quiet(_: str) -> None:
    pass


async def test_a_repository_without_one_has_nothing_to_prepare(opened, bare):
    assert await (await opened("a", bare)).run_setup(ENV, deadline=soon(), progress=quiet) is None


async def test_it_runs_once_in_the_workspace_with_the_given_environment_alone(
    with_setup, opened, bare, monkeypatch
):
    monkeypatch.setenv("SECRET", "worker's own")
    workspace = await with_setup(
        '#!/bin/sh\necho "$GREETING [$SECRET]"\npwd\necho warn >&2\ntouch prepared\n'
    )
    told = []
    result = await workspace.run_setup(ENV, deadline=soon(), progress=told.append)
    assert (result.ok, result.problem) == (True, "")
    assert told == ["hello []", str(workspace.path), "warn"]
    assert result.output.splitlines() == told
    assert (workspace.path / "prepared").exists()
    assert await workspace.run_setup(ENV, deadline=soon(), progress=quiet) is None
    again = await opened("a", bare)
    assert await again.run_setup(ENV, deadline=soon(), progress=quiet) is None


async def test_a_failure_is_told_with_the_end_of_its_output(with_setup):
    workspace = await with_setup("#!/bin/sh\nseq 100000\necho broken >&2\nexit 3\n")
    result = await workspace.run_setup(ENV, deadline=soon(), progress=quiet)
    assert (result.ok, result.problem) == (False, "`.threadmill/setup` failed with status 3.")
    assert result.output.endswith("100000\nbroken\n")
    assert len(result.output) <= 4000


async def test_its_deadline_ends_it_with_all_its_children(with_setup):
    workspace = await with_setup("#!/bin/sh\necho begun\nsleep 600 &\ntrap '' TERM\nsleep 601\nsleep 602\n")
    begun = asyncio.Event()
    before = set(psutil.Process().children(recursive=True))
    running = asyncio.create_task(
        workspace.run_setup(ENV, deadline=soon(8.0), progress=lambda _: begun.set())
    )
    await begun.wait()
    started = set(psutil.Process().children(recursive=True)) - before
    result = await running
    assert (result.ok, result.output) == (False, "begun\n")
    assert result.problem == "`.threadmill/setup` did not end in time and was stopped."
    assert started
    assert not alive(started)


async def test_a_service_that_it_leaves_running_does_not_hold_it_up(with_setup):
    workspace = await with_setup("#!/bin/sh\nsleep 600 &\necho $!\n")
    result = await workspace.run_setup(ENV, deadline=soon(20), progress=quiet)
    assert result.ok
    assert result.duration < 10
    psutil.Process(int(result.output)).kill()


@pytest.mark.parametrize(
    ("script", "mode", "problem"),
    [("#!/bin/sh\n", 0o644, "is not executable"), ("#!/no/such/shell\n", 0o755, "cannot be started")],
)
async def test_one_that_cannot_run_is_told(with_setup, script, mode, problem):
    workspace = await with_setup(script, mode)
    result = await workspace.run_setup(ENV, deadline=soon(), progress=quiet)
    assert not result.ok
    assert problem in result.problem
