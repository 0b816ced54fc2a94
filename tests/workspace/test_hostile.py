"""A repository and an agent that mean harm: nothing that they configure runs in what we run, nothing leads out."""

import os
import stat

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from services.worker.workspace import WorkspaceError, naming
from services.worker.workspace.attachments import create, exclude
from tests.workspace.people import THREAD, git, remote_file, save

BRANCH = f"threadmill/{THREAD}-fix-the-login"
HOOKS = (
    "pre-commit",
    "commit-msg",
    "post-commit",
    "pre-push",
    "post-checkout",
    "post-merge",
    "reference-transaction",
)

# Signs that mean something to git, to a shell, or to nobody: not every file has a name in UTF-8.
SIGNS = (
    b"#",
    b" ",
    b"\n",
    b"\t",
    b'"',
    b"'",
    b"\\",
    b"\xff",
    "ä".encode(),
    b"?",
    b"!",
    b"*",
    b":",
    b"-",
    b"u",
    b"1",
)
names = st.lists(st.sampled_from(SIGNS), min_size=1, max_size=5).map(
    lambda signs: os.fsdecode(b"".join(signs))
)


def trap(folder, mark):
    """A program that leaves `mark` when it is run."""
    program = folder / "trap"
    program.write_text(f"#!/bin/sh\ntouch '{mark}'\ncat\n")
    program.chmod(0o755)
    return program


async def test_no_hook_filter_driver_helper_or_rewritten_address_of_the_repository_takes_part(
    opened, bare, tmp_path
):
    workspace = await opened("a", bare)
    program = str(trap(tmp_path, tmp_path / "sprung"))
    hooks = workspace.path / ".git/hooks"
    hooks.mkdir(exist_ok=True)
    for name in HOOKS:
        (hooks / name).symlink_to(program)
    for key in (
        "core.fsmonitor", "core.sshCommand", "core.askPass", "core.pager", "core.editor", "credential.helper",
        "filter.x.clean", "filter.x.smudge", "filter.x.process", "diff.x.textconv", "diff.x.command", "diff.external",
        "merge.x.driver", "gpg.program", "remote.origin.receivepack", "remote.origin.uploadpack",
    ):  # fmt: skip
        git(workspace.path, "config", key, program)
    for key, value in {
        "commit.gpgSign": "true", "core.hooksPath": str(hooks), "core.worktree": str(tmp_path),
        "remote.origin.url": f"ext::{program}", f"url.ext::{program} .insteadOf": str(bare), "protocol.ext.allow": "always",
        "include.path": "/dev/zero/nothing", "user.name": "Mallory",
    }.items():  # fmt: skip
        git(workspace.path, "config", key, value)
    (workspace.path / ".gitattributes").write_text("* filter=x diff=x merge=x\n")
    (workspace.path / "README.md").write_text("changed\n")
    commit, push = await save(workspace)
    assert (commit.files, commit.problem, push.ok, push.problem) == (2, "", True, "")
    assert git(bare, "log", "-1", "--format=%cn", BRANCH) == "Threadmill"

    workspace.close()
    other = await opened("b", bare)
    (other.path / "README.md").write_text("others\n")
    await save(other)
    again = await opened("a", bare)
    assert (again.path / "README.md").read_text() == "others\n"
    (again.path / "more").write_text("1")
    assert (await save(again))[1].ok
    assert not (tmp_path / "sprung").exists()
    git(again.path, "status", check=False)
    assert (tmp_path / "sprung").exists()  # the traps were armed: the agent's own git steps into them


async def test_large_file_pointers_stay_pointers_without_the_program(opened, bare, tmp_path):
    pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n"
    seeded = tmp_path / "seed"
    (seeded / "big.bin").write_text(pointer)
    (seeded / ".gitattributes").write_text("*.bin filter=lfs diff=lfs merge=lfs -text\n")
    (seeded / ".gitmodules").write_text('[submodule "s"]\n\tpath = s\n\turl = ext::touch sprung\n')
    git(seeded, "add", "-A")
    git(seeded, "update-index", "--add", "--cacheinfo", f"160000,{git(seeded, 'rev-parse', 'HEAD')},s")
    git(seeded, "commit", "-qm", "Large files and a submodule")
    git(seeded, "push", "-q", "origin", "main")
    workspace = await opened("a", bare)
    assert (workspace.path / "big.bin").read_text() == pointer
    (workspace.path / "a").write_text("1")
    commit, push = await save(workspace)
    assert (commit.files, push.ok, remote_file(bare, BRANCH, "big.bin")) == (1, True, pointer.strip())


@pytest.mark.parametrize(
    "url",
    ["--upload-pack=touch /tmp/x", "ext::sh -c true", "https://h/\nx", "", "ftp://h/x", "https://[::1/x"],
)
async def test_an_address_that_is_none_is_refused_before_git_sees_it(opened, url, git_commands):
    with pytest.raises(WorkspaceError, match=r"(address|URL)"):
        await opened("a", url)
    assert git_commands == []


@pytest.mark.parametrize("thread", ["", "../x", "-x", "a b", "a/b", "x" * 64, "a\n"])
async def test_a_thread_that_is_no_token_is_refused(opened, bare, thread):
    with pytest.raises(WorkspaceError, match="thread's name"):
        await opened("a", bare, thread=thread)


async def test_attachments_are_ignored_by_git_and_numbered(opened, bare):
    workspace = await opened("a", bare)
    paths = []
    for text in (b"1", b"2"):
        with workspace.new_attachment("../../plan.pdf") as file:
            file.write(text)
            paths.append(file.name)
    folder = workspace.path / ".threadmill/attachments"
    assert paths == [str(folder / "plan.pdf"), str(folder / "plan-2.pdf")]
    assert (folder / "plan-2.pdf").read_bytes() == b"2"
    assert stat.S_IMODE((folder / "plan.pdf").stat().st_mode) & 0o111 == 0
    assert (await save(workspace))[0] is None


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(old=names, new=names)
@example(old="# x", new="y")
async def test_a_file_is_saved_whatever_it_is_called_and_was_called_before(opened, empty, old, new):
    workspace = await opened("a", empty)
    (workspace.path / old).write_text(f"content of {old!r}\n")
    git(workspace.path, "add", "-A")
    git(workspace.path, "commit", "-q", "--allow-empty", "-m", "Before")
    if old != new:
        git(workspace.path, "mv", "-f", "--", old, new)
    commit, push = await save(workspace)
    assert (commit.problem, push.ok) == ("", True)
    git(empty, "cat-file", "-e", f"{BRANCH}:{new}")


async def test_a_conflict_in_a_file_whose_name_is_no_text_can_still_be_told(opened, bare):
    mine, theirs = await opened("a", bare), await opened("b", bare)
    for each in (theirs, mine):
        (each.path / os.fsdecode(b"odd-\xff")).write_text(each.worker)
    await save(theirs)
    _, push = await save(mine)
    assert push.problem.encode().startswith("Both sides changed odd-\ufffd.".encode())


@pytest.mark.parametrize("link", [".threadmill", ".threadmill/attachments"])
async def test_a_committed_link_does_not_lead_attachments_out(opened, bare, tmp_path, link):
    outside = tmp_path / "outside"
    outside.mkdir()
    seeded = tmp_path / "seed" / link
    seeded.parent.mkdir(exist_ok=True)
    seeded.symlink_to(outside)
    git(tmp_path / "seed", "add", "-A")
    git(tmp_path / "seed", "commit", "-qm", "Link")
    git(tmp_path / "seed", "push", "-q", "origin", "main")
    workspace = await opened("a", bare)
    with pytest.raises(WorkspaceError, match="not a folder of the workspace"):
        workspace.new_attachment("a.txt")
    assert list(outside.iterdir()) == []


async def test_a_link_in_the_attachments_folder_is_never_written_through(opened, bare, tmp_path):
    workspace = await opened("a", bare)
    workspace.new_attachment("first").close()
    (workspace.path / ".threadmill/attachments/a.txt").symlink_to(tmp_path / "target")
    with workspace.new_attachment("a.txt") as file:
        file.write(b"1")
    assert file.name.endswith("/a-2.txt")
    assert not (tmp_path / "target").exists()


@given(
    name=st.text(max_size=400) | st.from_regex(r"[./\\~\x00 -]{0,8}[a-z]{0,3}(\.\w{0,30})?", fullmatch=True)
)
def test_any_attachment_name_becomes_one_new_file_inside_the_folder(tmp_path_factory, name):
    root = tmp_path_factory.mktemp("attachments")
    for _ in range(2):
        with create(root, name) as file:
            file.write(b"1")
    made = [path for path in root.rglob("*") if path.is_file()]
    assert len(made) == 2
    assert {path.parent for path in made} == {root / ".threadmill/attachments"}
    assert not any(path.name.startswith(("-", ".")) for path in made)


@given(name=st.text(max_size=400))
def test_a_safe_name_is_stable(name):
    safe = naming.file_name(name)
    assert naming.file_name(safe) == safe
    assert 0 < len(safe.encode()) <= naming.MAX_FILE_NAME


def test_exclude_does_not_lead_elsewhere(tmp_path):
    (tmp_path / "info").mkdir()
    exclude(tmp_path)
    assert (tmp_path / "info/exclude").read_text() == "/.threadmill/attachments/\n"
