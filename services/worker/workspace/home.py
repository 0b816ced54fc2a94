"""Our own folder beside the workspace: git's whole environment and configuration, none of it the repository's.

git reads a repository's configuration and hooks from its *common* directory. Ours lies here and links to the
workspace's objects and refs, so that nothing an agent or a repository configures (filters, drivers, helpers, rewritten
URLs, hooks) takes part in what we run, while HEAD, index, branches and reflogs are the workspace's own.
"""

import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path

from services.worker.workspace.credentials import ASKPASS
from services.worker.workspace.naming import THREADMILL, identity
from services.worker.workspace.remote import SCHEMES

# What of the worker's environment reaches git: where programs are, how to get out, whom to trust.
PASSED = ("PATH", "TMPDIR", "SSL_CERT_FILE", "SSL_CERT_DIR", "GIT_SSL_CAINFO", "SSH_AUTH_SOCK")
PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")

# Settings of the command line's rank: nothing overrides them, and the other end of a local transport does not see them.
SETTINGS = {
    "advice.addEmbeddedRepo": "false",
    "advice.detachedHead": "false",
    "commit.gpgSign": "false",
    "core.attributesFile": os.devnull,
    "core.excludesFile": os.devnull,
    "core.fsmonitor": "false",
    "core.hooksPath": os.devnull,
    "core.quotePath": "false",
    "credential.helper": "",
    "fetch.recurseSubmodules": "false",
    "gc.auto": "0",
    "http.lowSpeedLimit": "1",  # a connection that moves under 1 byte/s for 60 s is dead
    "http.lowSpeedTime": "60",
    "init.defaultBranch": "main",
    "maintenance.auto": "false",
    "protocol.ext.allow": "never",
    "push.gpgSign": "false",
    "push.recurseSubmodules": "no",
    "submodule.recurse": "false",
}

# The user's configuration, which both ends of a local transport read: no process of the remote outlives the push, and
# what was pushed stays one pack, so that the next clone copies few files.
USER_CONFIG = "[safe]\n\tdirectory = *\n[gc]\n\tautoDetach = false\n[transfer]\n\tunpackLimit = 1\n"

COMMON_CONFIG = """[core]
	repositoryformatversion = 0
	bare = false
[remote "origin"]
	url = "{url}"
	fetch = +refs/heads/*:refs/remotes/origin/*
"""
LINKED = ("objects", "refs", "packed-refs", "logs", "info", "shallow")


class Home:
    """A private temporary folder (0700) of one workspace; `remove` it when the workspace is closed."""

    def __init__(self) -> None:
        self.path = Path(tempfile.mkdtemp(prefix="threadmill-git-"))
        (self.path / ".gitconfig").write_text(USER_CONFIG)
        helper = self.path / "askpass"
        helper.write_text(ASKPASS)
        helper.chmod(0o700)

    def env(self, worker_env: Mapping[str, str]) -> dict[str, str]:
        """Return the environment of every git command that we run."""
        name, email = identity(THREADMILL)
        proxies = [name for upper in PROXIES for name in (upper, upper.lower())]
        settings = {f"GIT_CONFIG_KEY_{i}": key for i, key in enumerate(SETTINGS)}
        settings |= {f"GIT_CONFIG_VALUE_{i}": value for i, value in enumerate(SETTINGS.values())}
        return {
            **{name: worker_env[name] for name in (*PASSED, *proxies) if name in worker_env},
            **settings,
            "GIT_CONFIG_COUNT": str(len(SETTINGS)),
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_CONFIG_GLOBAL": str(self.path / ".gitconfig"),
            "GIT_ATTR_NOSYSTEM": "1",
            "HOME": str(self.path),
            "XDG_CONFIG_HOME": str(self.path),
            "LC_ALL": "C",
            "GIT_TERMINAL_PROMPT": "0",
            "GIT_ASKPASS": str(self.path / "askpass"),
            "GIT_SSH_COMMAND": "ssh -o BatchMode=yes",
            "GIT_ALLOW_PROTOCOL": ":".join(SCHEMES),
            "GIT_AUTHOR_NAME": name,
            "GIT_AUTHOR_EMAIL": email,
            "GIT_COMMITTER_NAME": name,
            "GIT_COMMITTER_EMAIL": email,
        }

    def bind(self, workspace: Path, url: str) -> dict[str, str]:
        """Make our common directory for `workspace`; return the environment that points git to it."""
        git_dir, common = workspace / ".git", self.path / "common"
        common.mkdir()
        quoted = url.replace("\\", "\\\\").replace('"', '\\"')
        (common / "config").write_text(COMMON_CONFIG.format(url=quoted))
        for name in LINKED:
            (common / name).symlink_to(git_dir / name)
        return {"GIT_DIR": str(git_dir), "GIT_COMMON_DIR": str(common), "GIT_WORK_TREE": str(workspace)}

    def remove(self) -> None:
        """Delete the folder."""
        shutil.rmtree(self.path, ignore_errors=True)
