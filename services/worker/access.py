"""What a session's agent and git are let use. A secret is in this process's memory, and in the agent's that needs it."""

import re
from collections.abc import Mapping
from typing import Self

import msgspec

from schemas.credentials import Secrets
from services.runtime.redact import secrets_in
from services.worker.settings import AGENT_NAMES, agent_environment
from services.worker.workspace import BasicAuth, Credential, WorkspaceError
from services.worker.workspace.remote import parse

# What hosts of repositories take for the user's name beside a token.
ANY_USER = "x-access-token"
# Names of what is no secret, however it came: where something is, and which one is meant.
OPEN = re.compile(r"_(?:URL|ENDPOINT|REGION|MODEL|PROJECT|RESOURCE|PROFILE|FILE|DIR|ARN|NAME|BETAS)(?:_|$)")


class Access(msgspec.Struct, frozen=True, kw_only=True):
    """The agent is started with `environ`; git shows `git` to the host of the configured repository.

    `declared` are the values that came as secrets.
    """

    environ: dict[str, str]
    declared: tuple[str, ...] = ()
    git: BasicAuth | None = None

    def __repr__(self) -> str:
        return "Access(...)"

    @classmethod
    def of(cls, environ: Mapping[str, str], secrets: Secrets) -> Self:
        """Return what the worker's own environment allows, and what it was given for the session."""
        git = BasicAuth(secrets.git_user or ANY_USER, secrets.git_password) if secrets.git_password else None
        given = agent_environment({**environ, **secrets.environ})
        return cls(environ=given, declared=_declared(secrets.environ), git=git)

    def secrets(self, configured: str | None) -> list[str]:
        """Return what nobody may read: what came as secret, keys, and the passwords of the repository `configured`."""
        passwords = [each.password for each in (self.git, _auth_in(configured)) if each]
        return [*self.declared, *secrets_in(self.environ), *passwords]

    def credential(self, address: str, configured: str | None) -> Credential | None:
        """Return who answers for the repository at `address`: nobody for another host than the `configured` one's.

        Nor for the same host by another scheme: an agent may have a thread remember `http` for what was `https`, and what
        goes there can be read on the way. Raises `WorkspaceError` where one of them is no address.
        """
        git = self.git
        if git is None or not configured or _place(address) != _place(configured):
            return None

        async def answer() -> BasicAuth:
            return git

        return answer


def _declared(environ: Mapping[str, str]) -> tuple[str, ...]:
    return tuple(
        value for name, value in environ.items() if name not in AGENT_NAMES and not OPEN.search(name)
    )


def _place(address: str) -> tuple[str, str]:
    """Return the scheme, and the host with its port."""
    remote = parse(address)
    return remote.scheme, remote.host


def _auth_in(address: str | None) -> BasicAuth | None:
    try:
        return parse(address).auth if address else None
    except WorkspaceError:  # one that cannot be read is told when it is opened
        return None
