"""Which blocks Slack accepts, and how many: counts and sizes of Block Kit, by Slack's own SDK where it knows them."""

import secrets
from collections.abc import Iterable, Iterator
from typing import Any

from slack_sdk.errors import SlackObjectFormationError
from slack_sdk.models.blocks import Block

from services.local.slack.errors import SlackError, invalid
from services.local.slack.model import Json

MESSAGE_BLOCKS = 50
VIEW_BLOCKS = 100
# Not documented; reported for the sum of all text in a message's blocks.
MESSAGE_BLOCK_TEXT = 13_200
TABLE_ROWS = 100
TABLE_CELLS = 20


def check_blocks(blocks: list[Json], *, most: int = MESSAGE_BLOCKS) -> None:
    """Raise `invalid_blocks` or `msg_blocks_too_long` for what Slack would not take."""
    if len(blocks) > most:
        raise invalid("invalid_blocks", f"no more than {most} items allowed [json-pointer:/blocks]")
    for index, block in enumerate(blocks):
        problem = _problem(block)
        if problem:
            raise invalid("invalid_blocks", f"{problem} [json-pointer:/blocks/{index}]")
    _check_unique(block["block_id"] for block in blocks if block.get("block_id"))
    if (
        sum(len(text) for block in blocks for text in texts(block)) > MESSAGE_BLOCK_TEXT
        and most == MESSAGE_BLOCKS
    ):
        raise SlackError("msg_blocks_too_long")


def with_ids(blocks: list[Json]) -> list[Json]:
    """The blocks, each with a `block_id`: Slack makes up the missing ones, and its interactions name them."""
    return [
        block if block.get("block_id") else block | {"block_id": secrets.token_hex(3)} for block in blocks
    ]


def texts(part: Any) -> Iterator[str]:
    """Every text that a person would read in a block."""
    if isinstance(part, dict):
        for key, value in part.items():
            if key in {"text", "title", "alt_text"} and isinstance(value, str):
                yield value
            else:
                yield from texts(value)
    elif isinstance(part, list):
        for value in part:
            yield from texts(value)


def interactive_elements(part: Any, block_id: str = "") -> Iterator[tuple[str, Json]]:
    """Every element with an `action_id`, each with its block's id."""
    if isinstance(part, dict):
        block_id = part.get("block_id") or block_id
        if "action_id" in part:
            yield block_id, part
        for value in part.values():
            yield from interactive_elements(value, block_id)
    elif isinstance(part, list):
        for value in part:
            yield from interactive_elements(value, block_id)


def _problem(block: Any) -> str | None:
    if not isinstance(block, dict) or not isinstance(block.get("type"), str):
        return "must be an object with a type"
    try:
        parsed = Block.parse(block)
        if parsed is None:
            return f"unsupported type: {block['type']}"
        parsed.to_dict()
    except SlackObjectFormationError as e:
        return str(e)
    except (TypeError, AttributeError, ValueError, KeyError) as e:
        return f"malformed {block['type']}: {e}"
    unknown = block.keys() - parsed.attributes
    if unknown:
        return f"invalid additional property: {min(unknown)}"
    return _beyond_the_sdk(block)


def _beyond_the_sdk(block: Json) -> str | None:
    """What Slack refuses and its SDK lets pass."""
    kind = block["type"]
    if kind == "table":
        return _table_problem(block.get("rows"))
    if kind == "section" and not isinstance(block.get("text", {}), dict):
        return "must provide an object as text"
    if kind == "header" and (block.get("text") or {}).get("type") != "plain_text":
        return "must provide plain_text as text"
    if kind == "actions":
        return _actions_problem(block.get("elements"))
    return None


def _table_problem(rows: Any) -> str | None:
    if not isinstance(rows, list) or len(rows) > TABLE_ROWS:
        return f"no more than {TABLE_ROWS} rows allowed"
    if any(not isinstance(row, list) or len(row) > TABLE_CELLS for row in rows):
        return f"no more than {TABLE_CELLS} cells in a row allowed"
    return None


def _actions_problem(elements: Any) -> str | None:
    if not isinstance(elements, list) or not elements:
        return "must provide elements"
    ids = [element.get("action_id") for element in elements if isinstance(element, dict)]
    named = [name for name in ids if name]
    if len(set(named)) != len(named):
        return "action_id must be unique within a block"
    return None


def _check_unique(names: Iterable[str]) -> None:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise invalid("invalid_blocks", f"block_id must be unique: {name} [json-pointer:/blocks]")
        seen.add(name)
