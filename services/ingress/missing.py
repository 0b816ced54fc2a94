"""Files that inputs name and nobody brought: what an ingress that died in between left undone."""

import contextlib
from datetime import datetime

from schemas.base import MalformedMessage
from schemas.bus import IN, SESSIONS
from schemas.inputs import INPUTS, Said
from schemas.people import File
from services.ingress.attachments import Attachments
from services.runtime.bus import Bus
from services.runtime.files import Files
from services.runtime.follow import Follow


async def bring_missing(bus: Bus, files: Files, attachments: Attachments, since: datetime) -> None:
    """Bring the files of all inputs stored after `since` that are not there. Raises `Unavailable`."""
    follow = Follow(bus, SESSIONS.name, [IN], start=since)
    async with contextlib.aclosing(follow.deliveries()) as deliveries:
        async for delivery in deliveries:
            if delivery is None:
                return
            for file in _named(delivery.data):
                if not await files.has(file.object):
                    attachments.again(file)


def _named(payload: bytes) -> tuple[File, ...]:
    try:
        message = INPUTS.decode(payload)
    except MalformedMessage:
        return ()
    return message.files if isinstance(message, Said) and message.source == "slack" else ()
