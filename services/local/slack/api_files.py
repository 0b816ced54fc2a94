"""`files.*`: the three steps of an upload, and a file's facts."""

import mimetypes
from typing import Annotated

import msgspec

from services.local.slack import events, render
from services.local.slack.api_chat import place, thread_root
from services.local.slack.calls import Arguments, Context, Method, Methods
from services.local.slack.errors import SlackError
from services.local.slack.limits import FILES_PER_MESSAGE, TIER_4
from services.local.slack.model import BOT_USER, File, Json, Message

# Slack takes 1 GB; what runs in the memory of a laptop takes less.
FILE_BYTES = 50 * 1024 * 1024
UPLOAD_LIFE = 3600.0


class UploadAddress(Arguments, kw_only=True):
    """Arguments of files.getUploadURLExternal. `length` is in bytes."""

    filename: Annotated[str, msgspec.Meta(min_length=1, max_length=255)]
    length: Annotated[int, msgspec.Meta(ge=1)]


class Uploaded(msgspec.Struct, kw_only=True):
    """One file of a completed upload."""

    id: str
    title: str | None = None


class Complete(Arguments, kw_only=True):
    """Arguments of files.completeUploadExternal. `channels` is a list with commas."""

    files: Annotated[list[Uploaded], msgspec.Meta(min_length=1)]
    channel_id: str | None = None
    channels: str | None = None
    thread_ts: str | None = None
    initial_comment: str | None = None


class Info(Arguments, kw_only=True):
    """Arguments of files.info."""

    file: str


def upload_address(ctx: Context, args: UploadAddress) -> Json:
    """files.getUploadURLExternal: where to POST exactly so many bytes, once."""
    if args.length > FILE_BYTES:
        raise SlackError("file_upload_size_restricted")
    media_type = mimetypes.guess_type(args.filename)[0] or "application/octet-stream"
    file = ctx.workspace.add_file(name=args.filename, media_type=media_type, size=args.length, user=BOT_USER)
    ticket = ctx.tickets.issue("upload", file.id, until=ctx.workspace.clock.now() + UPLOAD_LIFE)
    return {"upload_url": f"{ctx.base}/files/upload/{ticket}", "file_id": file.id}


def complete(ctx: Context, args: Complete) -> Json:
    """files.completeUploadExternal: the files become visible, in one message for each channel named."""
    if len(args.files) > FILES_PER_MESSAGE:
        raise SlackError("file_share_limit_reached")
    files = [_uploaded(ctx, one) for one in args.files]
    channels = [name for name in (args.channel_id, *(args.channels or "").split(",")) if name]
    places = [place(ctx.workspace, name).id for name in dict.fromkeys(channels)]
    roots = [thread_root(ctx.workspace, channel, args.thread_ts) for channel in places]
    for one, file in zip(args.files, files, strict=True):
        file.title, file.shared = one.title or file.title, True
    for channel, root in zip(places, roots, strict=True):
        _share(ctx, channel, root, files, args.initial_comment or "")
    return {"files": [render.file(file, ctx.base) for file in files]}


def info(ctx: Context, args: Info) -> Json:
    """files.info."""
    return {"file": render.file(ctx.workspace.file(args.file), ctx.base), "comments": []}


def _uploaded(ctx: Context, one: Uploaded) -> File:
    file = ctx.workspace.file(one.id)
    if file.shared or ctx.contents.get(file.id) is None:
        raise SlackError("file_not_found")
    return file


def _share(ctx: Context, channel: str, root: str | None, files: list[File], comment: str) -> None:
    message = Message(
        ts=ctx.workspace.next_ts(),
        channel=channel,
        user=BOT_USER,
        text=comment,
        thread_ts=root,
        files=[file.id for file in files],
    )
    ctx.workspace.add(message)
    ctx.emit(events.said(ctx.workspace, message, ctx.base))


METHODS: Methods = {
    "files.getUploadURLExternal": Method(UploadAddress, upload_address, TIER_4, form_only=True),
    "files.completeUploadExternal": Method(Complete, complete, TIER_4),
    "files.info": Method(Info, info, TIER_4, form_only=True),
}
