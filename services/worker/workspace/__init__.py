"""The session's workspace: one repository, one branch, one folder, and how work gets in and out of it.

What belongs here: git (run in one place, as argument vectors with a deadline), the session's branch, autosave, push,
attachments, the repository's own setup. What never does: the bus, the agent, Slack, or a decision about the session.
The repository and everything in the workspace are hostile: nothing that they configure takes part in what we run.
"""

from services.worker.workspace.autosave import Commit
from services.worker.workspace.bare import ensure_bare
from services.worker.workspace.checkout import Repository, open_repository
from services.worker.workspace.credentials import Credential
from services.worker.workspace.errors import WorkspaceError
from services.worker.workspace.naming import Author
from services.worker.workspace.push import Push
from services.worker.workspace.remote import BasicAuth
from services.worker.workspace.setup import SetupResult
from services.worker.workspace.workspace import Workspace

__all__ = [
    "Author",
    "BasicAuth",
    "Commit",
    "Credential",
    "Push",
    "Repository",
    "SetupResult",
    "Workspace",
    "WorkspaceError",
    "ensure_bare",
    "open_repository",
]
