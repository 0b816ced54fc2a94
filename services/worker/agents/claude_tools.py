"""The session's own tools, offered to Claude Code as an MCP server inside our process."""

from typing import Any
from uuid import uuid4

from claude_agent_sdk import McpSdkServerConfig, SdkMcpTool, create_sdk_mcp_server, tool

from .protocol import QuestionAsked, SessionTools
from .questions import Questions

SERVER = "threadmill"


def session_server(questions: Questions, tools: SessionTools | None) -> McpSdkServerConfig:
    """Build the server: `ask` always, the other tools when the session hands them in."""
    offered = [_ask(questions)]
    if tools is not None:
        offered += [_set_title(tools), _session_info(tools), _share_file(tools)]
    return create_sdk_mcp_server(SERVER, tools=offered)


def _result(text: str) -> dict[str, Any]:
    return {"content": [{"type": "text", "text": text}]}


def _ask(questions: Questions) -> SdkMcpTool[Any]:
    schema = {
        "type": "object",
        "properties": {
            "question": {"type": "string"},
            "choices": {"type": "array", "items": {"type": "string"}, "maxItems": 10},
        },
        "required": ["question"],
    }

    @tool("ask", "Ask the people in the Slack thread a question and wait for the answer.", schema)
    async def ask(arguments: dict[str, Any]) -> dict[str, Any]:
        question = QuestionAsked(
            id=f"ask-{uuid4().hex}",
            about="choice",
            title=arguments["question"],
            choices=tuple(arguments.get("choices", ())),
        )
        answer = await questions.ask(question)
        return _result(answer.choice or answer.text or "Nobody answered.")

    return ask


def _set_title(tools: SessionTools) -> SdkMcpTool[Any]:
    @tool("set_title", "Give the Slack thread's session a short title.", {"title": str})
    async def set_title(arguments: dict[str, Any]) -> dict[str, Any]:
        return _result(await tools.set_title(arguments["title"]))

    return set_title


def _session_info(tools: SessionTools) -> SdkMcpTool[Any]:
    @tool("session_info", "Tell where this session runs: thread, people, repository, branch, limits.", {})
    async def session_info(_: dict[str, Any]) -> dict[str, Any]:
        return _result(await tools.session_info())

    return session_info


def _share_file(tools: SessionTools) -> SdkMcpTool[Any]:
    @tool("share_file", "Show a file of the workspace in the Slack thread.", {"path": str, "comment": str})
    async def share_file(arguments: dict[str, Any]) -> dict[str, Any]:
        return _result(await tools.share_file(arguments["path"], arguments["comment"]))

    return share_file
