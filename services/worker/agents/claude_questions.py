"""Asks a person whatever Claude Code may not decide alone: permissions, plans, choices."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from claude_agent_sdk import (
    PermissionResult,
    PermissionResultAllow,
    PermissionResultDeny,
    PermissionUpdate,
    ToolPermissionContext,
)
from claude_agent_sdk.types import PermissionRuleValue

from .claude_events import tool_detail, tool_title
from .claude_tools import SERVER
from .protocol import PERMISSION_CHOICES, Answer, QuestionAsked
from .questions import Questions
from .trim import valid

ALLOW_ONCE, ALLOW_SESSION, _ = PERMISSION_CHOICES
APPROVE, _ = PLAN_CHOICES = ("approve", "revise")


class Gate:
    """The SDK's `can_use_tool` callback: every call but those of the session's own tools becomes a question."""

    def __init__(self, questions: Questions, cwd: Path) -> None:
        self._questions = questions
        self._cwd = cwd

    async def __call__(
        self, tool: str, arguments: dict[str, Any], context: ToolPermissionContext
    ) -> PermissionResult:
        """Ask about one tool call and say what the person decided."""
        call = context.tool_use_id or tool
        if tool.startswith(f"mcp__{SERVER}__"):
            return PermissionResultAllow()
        if tool == "AskUserQuestion":
            return await self._choices(call, arguments)
        if tool == "ExitPlanMode":
            return await self._plan(call, arguments)
        answer = await self._questions.ask(
            QuestionAsked(
                id=call,
                about="permission",
                title=tool_title(tool, arguments, self._cwd),
                detail=tool_detail(arguments),
                choices=PERMISSION_CHOICES,
            )
        )
        return permission(tool, answer, context.suggestions)

    async def _choices(self, call: str, arguments: dict[str, Any]) -> PermissionResult:
        answers: dict[str, str] = {}
        for number, question in enumerate(arguments.get("questions", [])):
            options = question.get("options", [])
            answer = await self._questions.ask(
                QuestionAsked(
                    id=f"{call}-{number}",
                    about="choice",
                    title=valid(question["question"]),
                    detail=valid(
                        "\n".join(f"{each['label']}: {each.get('description', '')}" for each in options)
                    ),
                    choices=tuple(valid(each["label"]) for each in options),
                )
            )
            answers[question["question"]] = answer.choice or answer.text
        return PermissionResultAllow(updated_input={**arguments, "answers": answers})

    async def _plan(self, call: str, arguments: dict[str, Any]) -> PermissionResult:
        answer = await self._questions.ask(
            QuestionAsked(
                id=call,
                about="plan",
                title="Is this plan right?",
                detail=valid(str(arguments.get("plan", ""))),
                choices=PLAN_CHOICES,
            )
        )
        if answer.choice == APPROVE:
            return PermissionResultAllow()
        return PermissionResultDeny(
            message=answer.text or "The person wants another plan; ask what to change."
        )


def permission(tool: str, answer: Answer, suggestions: list[PermissionUpdate]) -> PermissionResult:
    """Return what an answer means for a call of `tool`; anything that is not a yes is a no, with the person's words.

    Rights that are granted for the session are kept in the agent's memory alone, whatever Claude Code suggests.
    """
    if answer.choice == ALLOW_ONCE:
        return PermissionResultAllow()
    if answer.choice == ALLOW_SESSION:
        granted = suggestions or [
            PermissionUpdate(type="addRules", rules=[PermissionRuleValue(tool)], behavior="allow")
        ]
        return PermissionResultAllow(
            updated_permissions=[replace(each, destination="session") for each in granted]
        )
    return PermissionResultDeny(message=answer.text or "The person in the thread does not allow this.")
