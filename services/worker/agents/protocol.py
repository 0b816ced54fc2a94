"""What every agent adapter does, and the events that it yields."""

from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Protocol

import msgspec


class Attachment(msgspec.Struct, frozen=True, kw_only=True):
    """A file that a person attached, already in the workspace. `path` is absolute."""

    path: Path
    media_type: str


class Prompt(msgspec.Struct, frozen=True, kw_only=True):
    """One input for the agent. `id` is the input's id in the session; an agent's state names it, so it is never sent twice."""

    id: str
    text: str
    attachments: tuple[Attachment, ...] = ()


class Launch(msgspec.Struct, frozen=True, kw_only=True):
    """How to start the agent.

    `resume` is the agent's own conversation id, None for a fresh one. `env` is the agent's whole environment.
    `max_budget_usd` caps what one turn may cost; `spent_usd` is what the first one has cost before. `home` is a folder for
    the agent's own files, outside the workspace.
    """

    cwd: Path
    home: Path
    env: Mapping[str, str]
    permission_mode: Literal["ask", "accept-edits", "sandboxed"]
    system_prompt: str = ""
    model: str | None = None
    resume: str | None = None
    max_budget_usd: float | None = None
    spent_usd: float = 0.0


class TextDelta(msgspec.Struct, frozen=True, tag=True):
    """A piece of text as it is written; the `TextBlock` that follows carries all of it."""

    text: str


class TextBlock(msgspec.Struct, frozen=True, tag=True):
    """A finished block of the agent's text, in Markdown."""

    text: str


class Thinking(msgspec.Struct, frozen=True, tag=True):
    """A summary of what the agent thought."""

    text: str


class ToolStarted(msgspec.Struct, frozen=True, tag=True, kw_only=True):
    """A tool call began. `title` fits one line; `detail` is its input, shortened."""

    call: str
    name: str
    title: str
    detail: str = ""


class ToolFinished(msgspec.Struct, frozen=True, tag=True, kw_only=True):
    """A tool call ended after `duration_ms`; `output` is trimmed to 4,000 characters."""

    call: str
    ok: bool
    duration_ms: int
    output: str = ""


PlanStatus = Literal["pending", "in_progress", "completed"]


class PlanStep(msgspec.Struct, frozen=True):
    """One step of the agent's own list of things to do."""

    text: str
    status: PlanStatus


class PlanUpdated(msgspec.Struct, frozen=True, tag=True):
    """The agent's list of things to do, whole."""

    steps: tuple[PlanStep, ...]


PERMISSION_CHOICES = ("allow_once", "allow_session", "deny")


class QuestionAsked(msgspec.Struct, frozen=True, tag=True, kw_only=True):
    """The agent waits for a person. For `permission` the choices are allow_once, allow_session and deny."""

    id: str
    about: Literal["permission", "choice", "plan"]
    title: str
    detail: str = ""
    choices: tuple[str, ...] = ()


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """What a person answered: one of the question's choices, or free text."""

    choice: str | None = None
    text: str = ""


class Notice(msgspec.Struct, frozen=True, tag=True):
    """Something that the person should know, such as a retry of the model's API."""

    text: str


class Usage(msgspec.Struct, frozen=True, kw_only=True):
    """Tokens that a turn used."""

    input_tokens: int = 0
    output_tokens: int = 0
    cache_read_tokens: int = 0
    cache_write_tokens: int = 0


class Finished(msgspec.Struct, frozen=True, tag=True, kw_only=True):
    """Every prompt sent so far has been answered. `ok` is False when the agent gave up and `text` then says why.

    `stop_reason` is the agent's own word (`end_turn`, `interrupted`, `max_budget`, `api_error`, ...). `answered` counts
    the prompts since the last `Finished`: who sent more knows that another one follows.
    """

    ok: bool
    text: str
    stop_reason: str
    usage: Usage = Usage()
    cost_usd: float = 0.0
    answered: int = 1


class Exited(msgspec.Struct, frozen=True, tag=True):
    """The agent's process is gone without having been asked to; `reason` is one sentence."""

    reason: str


AgentEvent = (
    TextDelta
    | TextBlock
    | Thinking
    | ToolStarted
    | ToolFinished
    | PlanUpdated
    | QuestionAsked
    | Notice
    | Finished
    | Exited
)

Entry = dict[str, Any]


class StateStore(Protocol):
    """Where an agent's own conversation entries go. Entries are opaque JSON objects in order."""

    async def append(self, subpath: str, entries: Sequence[Entry]) -> None:
        """Store `entries` durably before returning; waits out a broker failover. Same `uuid` twice is stored once."""

    async def load(self, subpath: str) -> list[Entry] | None:
        """Return all entries of `subpath` in order, or None when there never was one."""

    async def subpaths(self) -> list[str]:
        """Return every subpath that has entries; the main conversation's is the empty string."""


class SessionTools(Protocol):
    """What the session offers its agent; each returns one sentence for the agent, also when it could not be done."""

    async def set_title(self, title: str) -> str:
        """Give the session a title."""

    async def session_info(self) -> str:
        """Describe the session: thread, people, repository, branch, limits."""

    async def share_file(self, path: str, comment: str) -> str:
        """Show a file of the workspace in the thread; `path` is as the agent wrote it and not to be trusted."""


class Agent(Protocol):
    """One conversation with one agent process, started by the first `send` after `start`.

    `start` is idempotent while the process lives. `close` ends the agent and everything that it started.
    """

    @property
    def state_complete(self) -> bool:
        """Whether everything that a resume needs was stored; meaningful right after `Finished`."""

    def contains(self, prompt: str) -> bool:
        """Whether the resumed conversation already has the prompt of this id; meaningful after `start`."""

    async def start(self, launch: Launch) -> str:
        """Start or resume the agent; return its conversation id. Raises `AgentError` with one sentence."""

    async def send(self, prompt: Prompt) -> None:
        """Give the agent an input: opens a turn when it is idle, steers it when it works."""

    def events(self) -> AsyncIterator[AgentEvent]:
        """Yield events for as long as the agent lives; ends after `close` or `Exited`."""

    async def answer(self, question: str, answer: Answer) -> bool:
        """Answer an open question; False when it is not open (any more)."""

    async def interrupt(self) -> None:
        """Stop what the agent does now; a `Finished` with stop_reason `interrupted` follows."""

    async def close(self) -> None:
        """End the agent within 2 s, kill its whole process tree, and reap it. Safe to call twice."""


class AgentError(Exception):
    """The agent could not be started or driven; the message is one sentence for the person in the thread."""
