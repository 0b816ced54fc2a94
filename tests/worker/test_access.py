"""Where a session's credential for git goes: to the configured host as it is configured, whatever a thread remembers."""

from pathlib import Path

import pytest

from schemas.credentials import Credential, Secrets
from services.runtime.redact import MASK, Redaction
from services.worker.access import ANY_USER, Access
from services.worker.settings import agent_environment
from services.worker.workspace import BasicAuth, WorkspaceError

CONFIGURED = "https://git.example.com/team/a.git"
SECRETS = Secrets(environ={"ANTHROPIC_API_KEY": "sk-ant-of-the-team"}, git_password="of-the-host")
ACCESS = Access.of({}, SECRETS)


@pytest.mark.parametrize(
    "address",
    [CONFIGURED, "https://git.example.com/team/b.git", "https://mallory:x@git.example.com/team/a.git"],
)
async def test_the_configured_host_is_shown_the_credential(address: str) -> None:
    answer = ACCESS.credential(address, CONFIGURED)
    assert answer is not None
    assert await answer() == BasicAuth(ANY_USER, "of-the-host")


@pytest.mark.parametrize(
    "address",
    [
        "http://git.example.com/team/a.git",
        "git://git.example.com/team/a.git",
        "ssh://git.example.com/team/a.git",
        "git.example.com:team/a.git",
        "https://git.example.com:8443/team/a.git",
        "https://git.example.com.evil.com/team/a.git",
        "https://evilgit.example.com/team/a.git",
        "https://git.example.com@evil.com/team/a.git",
        "https://git.example.com:x@evil.com/team/a.git",
        r"https://evil.com\.git.example.com/team/a.git",
        "https://evil.com?.git.example.com/team/a.git",
        "https://evil.com#.git.example.com/team/a.git",
        "https://git.example.com%2eevil.com/team/a.git",
        "https://[::1]/team/a.git",
        "/data/workspaces/a.git",
        "file:///data/workspaces/a.git",
        # Case and dots mean nothing to a resolver: refused rather than understood.
        "https://GIT.example.com/team/a.git",
        "https://git.example.com./team/a.git",
    ],
)
def test_nobody_else_is(address: str) -> None:
    assert ACCESS.credential(address, CONFIGURED) is None


@pytest.mark.parametrize(
    "address", ["https://evil.com/@git.example.com/a", "https://evil.com#@git.example.com"]
)
def test_an_address_that_two_readers_may_read_differently_is_refused(address: str) -> None:
    with pytest.raises(WorkspaceError):
        ACCESS.credential(address, CONFIGURED)


def test_what_came_as_a_secret_is_one_whatever_it_is_called_and_where_something_is_is_none() -> None:
    came = {"ANTHROPIC_PASSPHRASE": "of the vault", "CLAUDE_CODE_FLAG": "1", "TEAM": "of the guild"}
    came |= {
        "ANTHROPIC_BASE_URL": "https://gate",
        "AWS_REGION": "us-east-1",
        "HOME": "/data/home",
        "PATH": "/bin",
    }
    known = Access.of({}, Secrets(environ=came)).secrets(None)
    said = "1: of the vault and of the guild, in us-east-1 by https://gate from /data/home"
    assert (
        Redaction(known).text(said) == f"1: {MASK} and {MASK}, in us-east-1 by https://gate from /data/home"
    )


def test_what_the_workers_own_environment_holds_is_known_by_its_name_alone() -> None:
    environ = {"ANTHROPIC_AUTH_TOKEN": "a-token-of-the-gate", "ANTHROPIC_LOG": "everything"}
    assert Access.of(environ, Secrets()).secrets(None) == ["a-token-of-the-gate"]


def test_without_a_configured_repository_nobody_is_shown_anything() -> None:
    assert ACCESS.credential(CONFIGURED, None) is None


def test_what_is_shown_of_it_by_mistake_is_no_secret() -> None:
    shown = f"{ACCESS!r} {ACCESS.git!r} {SECRETS!r} {SECRETS} {Credential(jwt='j', secrets=SECRETS)!r}"
    assert "sk-ant" not in shown
    assert "of-the-host" not in shown


def test_the_agents_python_is_the_machines_and_not_ours() -> None:
    ours = Path("/opt/threadmill/bin")
    seen = agent_environment({"PATH": "/opt/threadmill/bin:/usr/local/bin:/usr/bin"}, ours)
    assert seen == {"PATH": "/usr/local/bin:/usr/bin:/opt/threadmill/bin"}
    assert agent_environment({"PATH": "/usr/bin:/bin"}, ours) == {"PATH": "/usr/bin:/bin"}
    assert agent_environment({"HOME": "/data"}, ours) == {"HOME": "/data"}
