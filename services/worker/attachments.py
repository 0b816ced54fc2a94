"""Files that people attached: from the bus into the workspace, before the agent hears of them."""

import asyncio
from collections.abc import Sequence
from pathlib import Path

from schemas.people import File
from services.runtime.errors import Unavailable
from services.runtime.files import Files
from services.worker.agents.protocol import Attachment
from services.worker.workspace import Workspace, WorkspaceError

# The message can be stored before its files are: ingress answers Slack within three seconds, downloads may take longer.
WAIT_SECONDS = 20.0
POLL_SECONDS = 0.5


async def fetch(
    files: Files, workspace: Workspace, wanted: Sequence[File]
) -> tuple[tuple[Attachment, ...], tuple[str, ...]]:
    """Return the attachments as they lie in the workspace, and a sentence for each that could not be had."""
    fetched: list[Attachment] = []
    problems: list[str] = []
    for file in wanted:
        try:
            path = await _fetch(files, workspace, file)
        except (Unavailable, WorkspaceError, OSError) as e:
            problems.append(f"The file {file.name} could not be fetched: {e}")
            continue
        if path is None:
            problems.append(f"The file {file.name} did not arrive; attach it again if the agent needs it.")
        else:
            fetched.append(Attachment(path=path, media_type=file.media_type))
    return tuple(fetched), tuple(problems)


async def _fetch(files: Files, workspace: Workspace, file: File) -> Path | None:
    data = await _arrived(files, file.object)
    if data is None:
        return None
    with workspace.new_attachment(file.name) as out:
        out.write(data)
        return Path(out.name)


async def _arrived(files: Files, name: str) -> bytes | None:
    tries = round(WAIT_SECONDS / POLL_SECONDS)
    for _ in range(tries):
        data = await files.get(name)
        if data is not None:
            return data
        await asyncio.sleep(POLL_SECONDS)
    return None
