"""Names made of strangers' words are always names that git takes."""

import contextlib
import re
import subprocess

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.worker.workspace import Author, naming
from services.worker.workspace.errors import WorkspaceError, explain, redacted
from services.worker.workspace.remote import parse
from tests.workspace.people import THREAD


def test_a_title_becomes_a_slug():
    assert naming.branch_name(THREAD, "Fix the Löwe's login!") == f"threadmill/{THREAD}-fix-the-lowe-s-login"
    assert naming.slug("修复登录") == "session"
    assert naming.slug("a" * 39 + " bc") == "a" * 39


@settings(max_examples=30)
@given(title=st.text())
def test_every_title_makes_a_branch_name_that_git_accepts(title):
    name = naming.branch_name(THREAD, title)
    subprocess.run(["git", "check-ref-format", "--branch", name], check=True, capture_output=True)


@given(name=st.text(), ident=st.text())
def test_every_person_is_an_author(name, ident):
    shown, email = naming.identity(Author(name, ident))
    assert shown.strip()
    assert not re.search(r"[<>\n\0]", shown)
    assert re.fullmatch(r"[A-Za-z0-9_-]+@users\.noreply\.threadmill\.invalid", email)
    shown.encode()


def test_co_authors_are_trailers():
    message = naming.commit_message("Do it\x07", [Author("Bo <b@x>", "U2")])
    assert message == "Do it\n\nCo-Authored-By: Bo b@x <U2@users.noreply.threadmill.invalid>\n"
    assert naming.commit_message(" \n ") == "Work in progress\n"


@given(
    user=st.text(min_size=1, max_size=20),
    password=st.text(min_size=12, max_size=20) | st.just("0123456789/x"),
)
def test_no_secret_stays_in_an_address(user, password):
    shown = ""
    with contextlib.suppress(WorkspaceError):
        remote = parse(f"https://{user}:{password}@git.example.com/team/repo.git")
        shown = f"{remote.url} {remote!r}"
    assert password not in shown


def test_a_secret_that_is_not_encoded_is_refused_not_sent_as_a_path():
    with pytest.raises(WorkspaceError, match="percent-encoded"):
        parse("https://ann:0123/abc@git.example.com/r.git")


def test_addresses_are_read():
    remote = parse("https://ann:t%40ken@git.example.com:8443/r.git")
    assert (remote.url, remote.host) == ("https://git.example.com:8443/r.git", "git.example.com:8443")
    assert remote.auth is not None
    assert (remote.auth.username, remote.auth.password) == ("ann", "t@ken")
    assert parse("git@github.com:team/repo.git").url == "git@github.com:team/repo.git"
    assert parse("ssh://git:pw@host/r").url == "ssh://git@host/r"
    assert parse("/data/a b.git").url == "/data/a b.git"


def test_what_git_says_is_shown_without_secrets_and_control_characters():
    assert redacted("fatal: https://u:secret@h/r failed") == "fatal: https://h/r failed"
    assert explain("hint: x\nfatal: odd\x1b[31m thing.\n") == "odd [31m thing"
    assert explain("") == "it said nothing"
