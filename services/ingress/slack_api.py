"""Slack's Web API: one method of ours for each of Slack's that we use, typed, without retries: the caller has the budget."""

import io
from collections.abc import Sequence
from typing import Literal
from urllib.parse import urlsplit

import aiohttp
import msgspec

from services.ingress.slack_transport import SLACK, Json, SlackError, SlackTransport, origin

__all__ = ["SLACK", "Identity", "Json", "Replies", "SessionStatus", "SlackApi", "SlackError"]

# A whole file takes longer than an answer.
TRANSFER = aiohttp.ClientTimeout(total=120, sock_read=20)

SessionStatus = Literal["processing", "active", "suspended", "closed"]


class Identity(msgspec.Struct, frozen=True, kw_only=True):
    """Who the token belongs to: the bot as a user and as a bot, and its workspace."""

    team_id: str
    user_id: str
    bot_id: str = ""


class Replies(msgspec.Struct, frozen=True, kw_only=True):
    """One page of a thread, oldest first, its parent before all; `cursor` is empty on the last page."""

    messages: list[Json]
    cursor: str = ""


class SlackApi(SlackTransport):
    """Slack as the bot of `token` sees it. Every method raises `SlackError`. Seconds for `timeout`."""

    async def auth_test(self) -> Identity:
        """Return who we are."""
        return msgspec.convert(await self.call("auth.test"), Identity)

    async def post_ephemeral(
        self,
        channel: str,
        user: str,
        *,
        text: str,
        thread_ts: str | None = None,
        blocks: Sequence[Json] | None = None,
    ) -> None:
        """Show `user` alone a message."""
        await self.call(
            "chat.postEphemeral", channel=channel, user=user, text=text, thread_ts=thread_ts, blocks=blocks
        )

    async def replies(
        self,
        channel: str,
        thread_ts: str,
        *,
        oldest: str | None = None,
        latest: str | None = None,
        limit: int = 15,
        cursor: str | None = None,
        include_all_metadata: bool = False,
    ) -> Replies:
        """Return a page of a thread, its parent first."""
        answer = await self.ask(
            "conversations.replies",
            channel=channel,
            ts=thread_ts,
            oldest=oldest,
            latest=latest,
            limit=limit,
            cursor=cursor,
            include_all_metadata=include_all_metadata or None,
        )
        cursor = (answer.get("response_metadata") or {}).get("next_cursor") or ""
        return Replies(messages=answer.get("messages") or [], cursor=cursor)

    async def user_info(self, user: str) -> Json:
        """Return Slack's user object."""
        return dict((await self.ask("users.info", user=user))["user"])

    async def conversation_info(self, channel: str) -> Json:
        """Return Slack's conversation object."""
        return dict((await self.ask("conversations.info", channel=channel))["channel"])

    async def upload_file(
        self,
        channel: str,
        *,
        name: str,
        data: bytes,
        thread_ts: str | None = None,
        comment: str | None = None,
    ) -> str:
        """Upload `data` as a file of the thread and return its id."""
        place = await self.ask("files.getUploadURLExternal", filename=name, length=len(data))
        await self.fetch(
            "POST", "files.upload", str(place["upload_url"]), data=io.BytesIO(data), timeout=TRANSFER
        )
        await self.call(
            "files.completeUploadExternal",
            files=[{"id": place["file_id"], "title": name}],
            channel_id=channel,
            thread_ts=thread_ts,
            initial_comment=comment,
        )
        return str(place["file_id"])

    async def download(self, url: str, *, most: int) -> bytes:
        """Return a file of Slack's, of `most` bytes at most."""
        # The address comes with an event and may be anybody's; the bot's token goes to Slack alone.
        host = urlsplit(url).hostname or ""
        if origin(url) != self.origin and not (url.startswith("https://") and host.endswith(".slack.com")):
            raise SlackError("files.download", "not_a_slack_address")
        return await self.fetch(
            "GET", "files.download", url, most=most, headers=self.authorization, timeout=TRANSFER
        )
