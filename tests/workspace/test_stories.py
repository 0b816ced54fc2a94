"""What a session lives through: machines come and go, others push, the agent does as it likes with git."""

import asyncio
from pathlib import Path

import pytest

from services.worker.workspace import WorkspaceError, ensure_bare
from services.worker.workspace.git import Git
from tests.workspace.people import ANN, THREAD, git, holding, remote_file, save, seed, soon

BRANCH = f"threadmill/{THREAD}-fix-the-login"


def threads_branches(bare: Path) -> list[str]:
    return git(bare, "for-each-ref", "--format=%(refname:short)", f"refs/heads/threadmill/{THREAD}*").split()


async def test_the_first_turn_begins_a_branch_and_its_work_reaches_the_remote(opened, bare, git_commands):
    workspace = await opened("a", bare)
    assert (workspace.branch, workspace.base, workspace.resumed) == (BRANCH, "main", False)
    assert (workspace.path / "src/app.py").read_text() == "print('hi')\n"
    assert len(git_commands) == 3  # each costs milliseconds of a person's waiting

    (workspace.path / "src/app.py").write_text("print('hello')\nprint('there')\n")
    (workspace.path / "trace.log").write_text("ignored")
    commit, push = await save(workspace, "Greet\n\nat length")
    assert (commit.subject, commit.commits, commit.files) == ("Greet", 1, 1)
    assert (commit.insertions, commit.deletions, commit.problem) == (2, 1, "")
    assert (push.ok, push.ref, push.sha) == (True, f"refs/heads/{BRANCH}", commit.sha)
    assert git(bare, "rev-parse", BRANCH) == commit.sha
    said = git(bare, "log", "-1", "--format=%an <%ae>, %cn, %B", BRANCH)
    assert said == "Ann Example <U1@users.noreply.threadmill.invalid>, Threadmill, Greet\n\nat length"
    assert "trace.log" not in git(bare, "ls-tree", "-r", "--name-only", BRANCH)


async def test_nothing_new_is_neither_committed_nor_pushed(opened, bare, git_commands):
    workspace = await opened("a", bare)
    assert (await save(workspace))[0] is None
    (workspace.path / "a").write_text("1")
    await save(workspace)
    git_commands.clear()
    commit, push = await save(workspace)
    assert (commit, push.ok) == (None, True)
    assert not {"commit", "push"} & {args[0] for args in git_commands}


async def test_the_agents_own_commits_on_a_clean_tree_are_pushed_too(opened, bare):
    workspace = await opened("a", bare)
    for number in "12":
        (workspace.path / number).write_text(number)
        git(workspace.path, "add", "-A")
        git(workspace.path, "commit", "-q", "-m", f"Step {number}")
    commit, push = await save(workspace)
    assert (commit.subject, commit.commits, commit.files) == ("Step 2", 2, 2)
    assert push.ok
    assert git(bare, "log", "-1", "--format=%an", BRANCH) == "Agent"


async def test_another_machine_goes_on_with_the_branch_whatever_the_title_is_by_then(opened, bare):
    first = await opened("a", bare)
    (first.path / "a").write_text("from a")
    await save(first)
    second = await opened("b", bare, title="A better title")
    assert (second.branch, second.base) == (first.branch, "main")
    assert (second.path / "a").read_text() == "from a"
    (second.path / "b").write_text("from b")
    commit, push = await save(second)
    assert (commit.commits, push.ok, push.merged) == (1, True, False)

    again = await opened("a", bare)
    assert again.resumed
    assert (again.path / "b").read_text() == "from b"


async def test_a_branch_that_nobody_could_push_keeps_its_name_on_another_machine(opened, bare):
    first = await opened("a", bare)
    second = await opened("b", bare, title="A better title", known=first.branch)
    assert second.branch == first.branch
    (second.path / "b").write_text("from b")
    _, push = await save(second)
    assert push.ok
    foreign = await opened("c", bare, known="main")
    assert foreign.branch == first.branch


async def test_a_branch_that_nobody_was_told_of_gives_way_to_the_sessions_own(opened, bare):
    untold = await opened("a", bare)
    untold.close()
    own = await opened("b", bare, title="A better title")
    (own.path / "b").write_text("from b")
    await save(own)
    again = await opened("a", bare, known=own.branch)
    assert own.branch != untold.branch
    assert (again.branch, (again.path / "b").read_text()) == (own.branch, "from b")
    (again.path / "a").write_text("from a")
    _, push = await save(again)
    assert (push.ok, push.merged) == (True, False)
    assert threads_branches(bare) == [own.branch]


@pytest.mark.parametrize("committed", [False, True])
async def test_a_branch_with_work_stays_whatever_was_told(opened, bare, committed: bool):
    untold = await opened("a", bare)
    (untold.path / "a").write_text("from a")
    if committed:
        git(untold.path, "add", "a")
        git(untold.path, "commit", "-qm", "a")
    untold.close()
    own = await opened("b", bare, title="A better title")
    (own.path / "a").write_text("from b")
    await save(own)
    again = await opened("a", bare, known=own.branch)
    assert (again.branch, (again.path / "a").read_text()) == (untold.branch, "from a")
    _, push = await save(again)
    assert push.ok
    assert sorted(threads_branches(bare)) == sorted([own.branch, untold.branch])


async def test_a_branch_that_is_left_for_one_without_a_commit_stays(opened, bare):
    untold = await opened("a", bare)
    git(untold.path, "checkout", "-q", "--orphan", "anew")
    git(untold.path, "rm", "-rqf", ".")
    untold.close()
    own = await opened("b", bare, title="A better title")
    await save(own)
    again = await opened("a", bare, known=own.branch)
    assert again.branch == untold.branch
    assert git(again.path, "symbolic-ref", "--short", "HEAD").strip() == "anew"


async def test_a_branch_on_which_a_merge_is_under_way_stays_though_nothing_is_changed(opened, bare):
    git(bare, "branch", "other", git(bare, "commit-tree", "main^{tree}", "-p", "main", "-m", "other").strip())
    untold = await opened("a", bare)
    git(untold.path, "merge", "-q", "--no-commit", "--no-ff", "origin/other")
    untold.close()
    own = await opened("b", bare, title="A better title")
    await save(own)
    again = await opened("a", bare, known=own.branch)
    assert again.branch == untold.branch
    assert git(again.path, "rev-parse", "MERGE_HEAD") == git(again.path, "rev-parse", "origin/other")


async def test_the_same_folder_keeps_what_was_not_saved(opened, bare):
    first = await opened("a", bare)
    (first.path / "README.md").write_text("half done")
    first.close()
    again = await opened("a", bare)
    assert (again.branch, (again.path / "README.md").read_text()) == (BRANCH, "half done")
    commit, push = await save(again)
    assert (commit.files, push.ok) == (1, True)


async def test_a_branch_whose_name_looks_like_two_lines_to_python_is_no_obstacle(opened, bare):
    git(bare, "branch", f"{BRANCH}\u2028y", "main")
    assert (await opened("a", bare)).branch.startswith(BRANCH)
    assert (await opened("b", bare)).branch.startswith(BRANCH)


async def test_a_folder_of_another_session_or_person_is_refused_and_left_alone(opened, bare, tmp_path):
    first = await opened("a", bare)
    (first.path / "note").write_text("mine")
    with pytest.raises(WorkspaceError, match="not this session's workspace"):
        await opened("a", bare, thread="1-2")
    (tmp_path / "full").mkdir()
    (tmp_path / "full/thesis.txt").write_text("years")
    with pytest.raises(WorkspaceError, match="not this session's workspace"):
        await opened("full", bare)
    assert (tmp_path / "full/thesis.txt").read_text() == "years"
    assert (first.path / "note").read_text() == "mine"


async def test_what_an_interrupted_clone_left_is_no_obstacle(opened, bare, tmp_path):
    (tmp_path / "a/.threadmill-clone-1/.git/objects").mkdir(parents=True)
    (tmp_path / "a/lost+found").mkdir()
    workspace = await opened("a", bare)
    assert not list(workspace.path.glob(".threadmill-clone*"))
    assert (workspace.path / "README.md").exists()


async def test_who_lost_the_session_in_the_middle_of_a_clone_removes_nothing_of_who_has_it_now(
    opened, bare, monkeypatch
):
    connect, began, go_on = Git.connect, asyncio.Queue(), asyncio.Event()

    async def slowly(self, *args, **more):
        output = await connect(self, *args, **more)
        began.put_nowait(args)
        await go_on.wait()
        return output

    monkeypatch.setattr(Git, "connect", slowly)
    losing = asyncio.create_task(opened("a", bare))
    await began.get()
    having = asyncio.create_task(opened("a", bare))
    await began.get()
    losing.cancel()
    await asyncio.wait([losing])
    go_on.set()
    workspace = await having
    assert (workspace.path / "README.md").exists()


async def test_when_others_pushed_their_work_is_merged_in_and_the_work_tree_has_it(opened, bare):
    mine, theirs = await opened("a", bare), await opened("b", bare)
    (theirs.path / "theirs").write_text("t")
    (mine.path / "mine").write_text("m")
    assert (await save(theirs))[1].ok
    _, push = await save(mine)
    assert (push.ok, push.merged) == (True, True)
    assert (mine.path / "theirs").read_text() == "t"
    assert remote_file(bare, BRANCH, "mine") == "m"
    assert remote_file(bare, BRANCH, "theirs") == "t"
    assert git(mine.path, "status", "--porcelain") == ""
    assert (await save(mine))[0] is None


async def test_a_conflict_is_told_the_work_is_kept_aside_and_the_agent_can_settle_it(opened, bare):
    mine, theirs = await opened("a", bare), await opened("b", bare)
    (theirs.path / "README.md").write_text("theirs\n")
    (mine.path / "README.md").write_text("mine\n")
    await save(theirs)
    _, push = await save(mine)
    assert not push.ok
    assert push.ref == "refs/threadmill/conflict/worker-a"
    assert "README.md" in push.problem
    assert remote_file(bare, push.ref, "README.md") == "mine"
    assert remote_file(bare, BRANCH, "README.md") == "theirs"
    assert (mine.path / "README.md").read_text() == "mine\n"
    assert git(mine.path, "status", "--porcelain") == ""

    git(mine.path, "merge", "-q", "-X", "ours", f"origin/{BRANCH}")
    _, push = await save(mine)
    assert (push.ok, remote_file(bare, BRANCH, "README.md")) == (True, "mine")


async def test_a_conflict_that_stays_keeps_every_state_of_the_work(opened, bare):
    mine, theirs = await opened("a", bare), await opened("b", bare)
    (theirs.path / "README.md").write_text("theirs\n")
    await save(theirs)
    kept = []
    for text in ("one", "two"):
        (mine.path / "README.md").write_text(text)
        git(mine.path, "commit", "-qa", "--amend", "-m", "Amended")
        kept.append((await save(mine))[1])
    assert [remote_file(bare, push.ref, "README.md") for push in kept] == ["one", "two"]


async def test_a_worker_without_its_lease_never_touches_the_branch(opened, bare):
    workspace = await opened("a", bare)
    (workspace.path / "late").write_text("late")
    commit = await workspace.autosave(ANN, "Late", deadline=soon())
    push = await workspace.push(lambda: False, deadline=soon())
    assert (push.ok, push.ref, push.sha) == (False, "refs/threadmill/lost/worker-a", commit.sha)
    assert remote_file(bare, push.ref, "late") == "late"
    assert git(bare, "for-each-ref", "refs/heads/threadmill") == ""


async def test_the_lease_is_looked_at_again_after_a_merge(opened, bare):
    mine, theirs = await opened("a", bare), await opened("b", bare)
    (theirs.path / "theirs").write_text("t")
    _, pushed = await save(theirs)
    (mine.path / "mine").write_text("m")
    await mine.autosave(ANN, "Mine", deadline=soon())
    answers = iter([True, False])
    push = await mine.push(lambda: next(answers), deadline=soon())
    assert (push.ok, push.ref) == (False, "refs/threadmill/lost/worker-a")
    assert git(bare, "rev-parse", BRANCH) == pushed.sha


async def test_an_empty_repository_gets_its_first_commit_on_the_sessions_branch(opened, empty):
    workspace = await opened("a", empty)
    assert (workspace.base, await workspace.autosave(ANN, "?", deadline=soon())) == ("main", None)
    assert (await workspace.push(holding, deadline=soon())).ok
    (workspace.path / "a").write_text("1\n")
    commit, push = await save(workspace)
    assert (commit.commits, commit.insertions, push.ok) == (1, 1, True)
    again = await opened("b", empty)
    assert (again.branch, again.base, (again.path / "a").read_text()) == (BRANCH, "main", "1\n")


async def test_two_machines_that_both_began_in_an_empty_repository_are_merged(opened, empty):
    one, two = await opened("a", empty), await opened("b", empty)
    (one.path / "one").write_text("1")
    (two.path / "two").write_text("2")
    assert (await save(one))[1].ok
    _, push = await save(two)
    assert (push.ok, push.merged) == (True, True)
    assert remote_file(empty, BRANCH, "one") == "1"


async def test_a_failed_push_is_a_sentence_and_the_next_one_brings_it_all(opened, bare, tmp_path):
    workspace = await opened("a", bare)
    (workspace.path / "a").write_text("1")
    bare.rename(tmp_path / "away")
    commit, push = await save(workspace)
    assert (push.ok, push.ref) == (False, "")
    assert push.problem == "git push failed: there is no such repository; check its address."
    (tmp_path / "away").rename(bare)
    again, push = await save(workspace)
    assert (again, push.ok) == (commit, True)


async def test_the_remotes_own_rules_are_told(opened, bare):
    workspace = await opened("a", bare)
    (bare / "hooks").mkdir()
    (bare / "hooks/pre-receive").write_text(
        "#!/bin/sh\necho 'error: file big.bin is too large' >&2\nexit 1\n"
    )
    (bare / "hooks/pre-receive").chmod(0o755)
    (workspace.path / "big.bin").write_text("1")
    _, push = await save(workspace)
    assert not push.ok
    assert "file big.bin is too large" in push.problem


async def test_a_path_with_spaces_and_letters_from_everywhere(opened, tmp_path):
    odd = tmp_path / 'mühle "a" $(b) ☃'
    await ensure_bare(odd / "r.git", deadline=soon())
    seed(odd / "r.git", {"ä b.txt": "ok"}, tmp_path / "person")
    workspace = await opened('my work "☃" $x', odd / "r.git")
    (workspace.path / "näme\n.txt").write_text("1")
    _, push = await save(workspace)
    assert push.ok
    assert (workspace.path / "ä b.txt").read_text() == "ok"


async def test_machines_that_push_at_the_same_time_all_get_their_work_in(opened, bare):
    machines = [await opened(name, bare) for name in "abc"]
    for machine in machines:
        (machine.path / machine.worker).write_text("1")
    pushes = await asyncio.gather(*(save(machine) for machine in machines))
    late = [machine for machine, (_, push) in zip(machines, pushes, strict=True) if not push.ok]
    for machine in late:  # the attempts are bounded; the next save brings the rest
        assert (await save(machine))[1].ok
    listed = git(bare, "ls-tree", "--name-only", BRANCH).splitlines()
    assert {machine.worker for machine in machines} <= set(listed)


async def test_a_branch_that_was_deleted_at_the_remote_comes_back_with_the_next_work(opened, bare):
    workspace = await opened("a", bare)
    (workspace.path / "a").write_text("1")
    await save(workspace)
    git(bare, "branch", "-D", BRANCH)
    (workspace.path / "b").write_text("1")
    assert (await save(workspace))[1].ok
    assert (remote_file(bare, BRANCH, "a"), remote_file(bare, BRANCH, "b")) == ("1", "1")


async def test_a_branch_name_that_the_remote_cannot_have_is_told(opened, bare):
    workspace = await opened("a", bare)
    git(bare, "branch", "threadmill", "main")
    (workspace.path / "a").write_text("1")
    _, push = await save(workspace)
    assert not push.ok
    assert push.problem.startswith("The remote refused the branch: [remote rejected]")


async def test_a_folder_that_cannot_be_one_is_a_sentence(opened, bare, tmp_path):
    (tmp_path / "a").write_text("a file")
    with pytest.raises(WorkspaceError, match="cannot be prepared: File exists"):
        await opened("a", bare)


async def test_without_git_there_is_a_sentence(opened, bare, monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(WorkspaceError, match="git cannot be started"):
        await opened("a", bare)


async def test_many_callers_make_one_bare_repository(tmp_path):
    bare = tmp_path / "data/r.git"
    await asyncio.gather(*(ensure_bare(bare, deadline=soon()) for _ in range(8)))
    assert git(bare, "symbolic-ref", "HEAD") == "refs/heads/main"
    assert [entry.name for entry in bare.parent.iterdir()] == ["r.git"]
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken/file").write_text("")
    with pytest.raises(WorkspaceError, match="cannot be created"):
        await ensure_bare(tmp_path / "taken", deadline=soon())
