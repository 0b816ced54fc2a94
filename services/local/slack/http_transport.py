"""The Events API and interactivity over HTTP, signed as Slack signs."""

import contextlib
import hashlib
import hmac
from asyncio import open_connection
from urllib.parse import urlencode, urlsplit

import aiohttp
import msgspec

from services.local.slack.answers import dumps
from services.local.slack.clock import Clock
from services.local.slack.model import Json
from services.local.slack.parcels import NotTakenError, Parcel

MOST_ANSWER = 1024 * 1024


class HttpTransport:
    """Posts parcels under `url`, the app's base address. `timeout` is how long Slack waits for its 200, in seconds."""

    def __init__(self, *, signing_secret: str, clock: Clock, timeout: float) -> None:
        self._secret = signing_secret.encode()
        self._clock = clock
        self._timeout = aiohttp.ClientTimeout(total=timeout)
        self._session: aiohttp.ClientSession | None = None
        self.url: str | None = None

    async def start(self) -> None:
        """Open the client session."""
        self._session = aiohttp.ClientSession(timeout=self._timeout, trust_env=False)

    async def stop(self) -> None:
        """Close it."""
        if self._session:
            await self._session.close()

    async def deliver(self, parcel: Parcel) -> Json:
        """Post a parcel and give what the app answered beside its 200. Raises NotTakenError."""
        if self.url is None or self._session is None:
            raise NotTakenError("connection_failed")
        path, content_type, body = _letter(parcel)
        headers = self._signed(body, content_type) | _retry_headers(parcel)
        try:
            async with self._session.post(
                f"{self.url}{path}", data=body, headers=headers, allow_redirects=False
            ) as response:
                answer = await response.content.read(MOST_ANSWER)
                if response.status != 200:
                    raise NotTakenError("http_error", final="X-Slack-No-Retry" in response.headers)
                return _object(answer)
        except TimeoutError as e:
            raise NotTakenError("http_timeout") from e
        except aiohttp.ClientError as e:
            raise NotTakenError("connection_failed") from e

    async def deliver_half(self, parcel: Parcel) -> None:
        """Post the first half of a parcel and lose the connection."""
        if self.url is None:
            return
        address = urlsplit(self.url)
        path, content_type, body = _letter(parcel)
        fields = {
            "Host": address.netloc,
            "Content-Length": str(len(body)),
            **self._signed(body, content_type),
        }
        head = f"POST {path} HTTP/1.1\r\n" + "".join(f"{name}: {value}\r\n" for name, value in fields.items())
        with contextlib.suppress(OSError):
            _, writer = await open_connection(address.hostname, address.port or 80)
            writer.write(head.encode() + b"\r\n" + body[: len(body) // 2])
            await writer.drain()
            writer.close()
            await writer.wait_closed()

    def _signed(self, body: bytes, content_type: str) -> dict[str, str]:
        timestamp = str(int(self._clock.now()))
        digest = hmac.new(self._secret, f"v0:{timestamp}:".encode() + body, hashlib.sha256).hexdigest()
        return {
            "Content-Type": content_type,
            "X-Slack-Request-Timestamp": timestamp,
            "X-Slack-Signature": f"v0={digest}",
            "User-Agent": "Slackbot 1.0 (+https://api.slack.com/robots)",
        }


def _letter(parcel: Parcel) -> tuple[str, str, bytes]:
    """Path, media type and body for HTTP."""
    text = dumps(parcel.payload)
    if parcel.kind == "events_api":
        return "/slack/events", "application/json", text.encode()
    return "/slack/interactive", "application/x-www-form-urlencoded", urlencode({"payload": text}).encode()


def _retry_headers(parcel: Parcel) -> dict[str, str]:
    if not parcel.attempt:
        return {}
    return {"X-Slack-Retry-Num": str(parcel.attempt), "X-Slack-Retry-Reason": parcel.reason}


def _object(body: bytes) -> Json:
    """An object, or nothing where the app answered something else."""
    with contextlib.suppress(msgspec.DecodeError):
        decoded = msgspec.json.decode(body or b"{}")
        if isinstance(decoded, dict):
            return decoded
    return {}
