"""What an ACP agent may ask of us: permissions, and files of the workspace."""

from collections.abc import Awaitable, Callable, Sequence
from itertools import islice
from pathlib import Path
from typing import Any
from uuid import uuid4

from acp import RequestError
from acp.schema import (
    AllowedOutcome,
    DeniedOutcome,
    PermissionOption,
    ReadTextFileResponse,
    RequestPermissionResponse,
    ToolCallUpdate,
    WriteTextFileResponse,
)

from .acp_events import permission_question
from .protocol import Answer, Launch
from .questions import Questions, WithdrawnError

LARGEST_FILE_BYTES = 16 * 1024**2
EDITS = ("edit", "delete", "move")
KINDS = {
    "allow_once": ("allow_once", "allow_always"),
    "allow_session": ("allow_always", "allow_once"),
    "deny": ("reject_once", "reject_always"),
}
CANCELLED = RequestPermissionResponse(outcome=DeniedOutcome(outcome="cancelled"))


class WorkspaceClient:
    """The client side of the protocol, as far as we offer it: no terminals, no files outside of the workspace."""

    def __init__(
        self, launch: Launch, questions: Questions, update: Callable[[Any], Awaitable[None]]
    ) -> None:
        self._launch = launch
        self._workspace = launch.cwd.resolve()
        self._questions = questions
        self._update = update

    async def session_update(self, session_id: str, update: Any, **_: Any) -> None:
        """Pass an update on."""
        del session_id  # there is one session
        await self._update(update)

    async def request_permission(
        self, session_id: str, tool_call: ToolCallUpdate, options: list[PermissionOption], **_: Any
    ) -> RequestPermissionResponse:
        """Decide by the launch's policy, else ask in the thread."""
        del session_id  # there is one session
        mode = self._launch.permission_mode
        if mode == "sandboxed" or (mode == "accept-edits" and tool_call.kind in EDITS):
            return choose(options, Answer(choice="allow_once"))
        try:
            answer = await self._questions.ask(permission_question(f"permission-{uuid4().hex}", tool_call))
        except WithdrawnError:
            return CANCELLED
        return choose(options, answer)

    async def read_text_file(
        self, session_id: str, path: str, line: int | None = None, limit: int | None = None, **_: Any
    ) -> ReadTextFileResponse:
        """Read a text file of the workspace, from a 1-based line on."""
        del session_id  # there is one session
        file = self._inside(path)
        if not file.is_file() or file.stat().st_size > LARGEST_FILE_BYTES:
            raise RequestError.invalid_params({"path": path, "reason": "no such file, or one over 16 MiB"})
        start = max((line or 1) - 1, 0)
        with file.open(encoding="utf-8", errors="replace") as lines:
            return ReadTextFileResponse(content="".join(islice(lines, start, limit and start + limit)))

    async def write_text_file(
        self, session_id: str, path: str, content: str, **_: Any
    ) -> WriteTextFileResponse:
        """Write a text file of the workspace."""
        del session_id  # there is one session
        file = self._inside(path)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content, encoding="utf-8")
        return WriteTextFileResponse()

    def _inside(self, path: str) -> Path:
        file = (self._workspace / path).resolve()
        if not file.is_relative_to(self._workspace):
            raise RequestError.invalid_params({"path": path, "reason": "outside of the workspace"})
        return file


def choose(options: Sequence[PermissionOption], answer: Answer) -> RequestPermissionResponse:
    """Return the option that an answer means; without a fitting one the call is cancelled, which never allows it."""
    for kind in KINDS.get(answer.choice or "deny", KINDS["deny"]):
        for option in options:
            if option.kind == kind:
                selected = AllowedOutcome(outcome="selected", option_id=option.option_id)
                return RequestPermissionResponse(outcome=selected)
    return CANCELLED
