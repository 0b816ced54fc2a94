"""The way to Slack's Web API: one call, checked, with one error type; it never tries again."""

from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

import aiohttp
from slack_sdk.errors import SlackApiError
from slack_sdk.web.async_client import AsyncWebClient

Json = dict[str, Any]

SLACK = "https://slack.com/api/"
# Slack's words for what may be gone at the next try.
PASSING = {
    "ratelimited",
    "rate_limited",
    "internal_error",
    "fatal_error",
    "service_unavailable",
    "request_timeout",
}


class SlackError(Exception):
    """Slack refused `method` with its word `error`, or could not be reached.

    `retry_after` is in seconds, where Slack told; `retriable` tells whether the same call may succeed later.
    """

    def __init__(
        self, method: str, error: str, retry_after: float | None = None, retriable: bool = False
    ) -> None:
        super().__init__(f"{method}: {error}")
        self.method = method
        self.error = error
        self.retry_after = retry_after
        self.retriable = retriable


class SlackTransport:
    """Calls as the bot of `token`. Everything raises `SlackError`. Seconds for `timeout`."""

    def __init__(self, token: str, *, base_url: str = SLACK, timeout: float = 10.0) -> None:
        self.authorization = {"Authorization": f"Bearer {token}"}
        self._timeout = aiohttp.ClientTimeout(total=timeout)
        self._client = AsyncWebClient(token=token, base_url=base_url, retry_handlers=[])
        # The SDK's own proxy setting ignores NO_PROXY; aiohttp's does not.
        self._client.proxy = None
        self.origin = origin(self._client.base_url)

    async def __aenter__(self) -> Self:
        """Return itself; leaving closes the connections."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the connections."""
        await self.close()

    async def close(self) -> None:
        """Close the connections."""
        if self._client.session:
            await self._client.session.close()

    async def call(self, method: str, **arguments: Any) -> Json:
        """Call any method that writes, with JSON; arguments that are None are left out. Return the whole answer."""
        return await self._send(method, json=_given(arguments))

    async def ask(self, method: str, **arguments: Any) -> Json:
        """Call any method that reads (those take no JSON). Return the whole answer."""
        return await self._send(method, http_verb="GET", params=_given(arguments))

    async def _send(self, method: str, **how: Any) -> Json:
        self._session()
        try:
            answer = await self._client.api_call(method, **how)
        except SlackApiError as e:
            raise _refused(method, e) from e
        except (aiohttp.ClientError, TimeoutError, OSError) as e:
            raise SlackError(method, f"unreachable: {str(e) or type(e).__name__}", retriable=True) from e
        return answer.data if isinstance(answer.data, dict) else {}

    async def fetch(self, verb: str, name: str, url: str, *, most: int = 2**20, **how: Any) -> bytes:
        """Return the body at `url`, of `most` bytes at most; `name` stands for it in errors. No redirect is followed."""
        try:
            async with self._session().request(verb, url, allow_redirects=False, **how) as response:
                if response.status != 200:
                    raise _failed(name, response.status, response.headers)
                return await _bounded(name, response, most)
        except (aiohttp.ClientError, TimeoutError, OSError) as e:
            raise SlackError(name, f"unreachable: {str(e) or type(e).__name__}", retriable=True) from e

    def _session(self) -> aiohttp.ClientSession:
        if self._client.session is None:
            self._client.session = aiohttp.ClientSession(timeout=self._timeout, trust_env=True)
        return self._client.session


async def _bounded(name: str, response: aiohttp.ClientResponse, most: int) -> bytes:
    data = bytearray()
    async for chunk in response.content.iter_any():
        data += chunk
        if len(data) > most:
            raise SlackError(name, "too_large")
    return bytes(data)


def _given(arguments: Mapping[str, Any]) -> Json:
    return {name: value for name, value in arguments.items() if value is not None}


def origin(url: str) -> tuple[str, str]:
    """Return scheme and host with port of `url`."""
    parts = urlsplit(url)
    return parts.scheme, parts.netloc


def _refused(method: str, error: SlackApiError) -> SlackError:
    response = error.response
    data = getattr(response, "data", None)
    word = data.get("error") if isinstance(data, dict) else None
    status = int(getattr(response, "status_code", None) or getattr(response, "status", None) or 0)
    if not word:
        return _failed(method, status, response.headers)
    retry_after = _seconds(response.headers)
    return SlackError(method, str(word), retry_after, retriable=status == 429 or word in PASSING)


def _failed(method: str, status: int, headers: Mapping[str, str]) -> SlackError:
    return SlackError(method, f"http_{status}", _seconds(headers), retriable=status == 429 or status >= 500)


def _seconds(headers: Mapping[str, str]) -> float | None:
    word = headers.get("Retry-After", "")
    return float(word) if word.isdecimal() else None
