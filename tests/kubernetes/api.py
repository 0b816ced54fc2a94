"""A small client of the API server: objects are plain dicts, as its JSON has them.

It shares nothing with the product's own client, so that a mistake in one does not hide in the other.
"""

import asyncio
import contextlib
import json
import ssl
from collections.abc import AsyncGenerator, Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

import aiohttp

Object = dict[str, Any]
T = TypeVar("T")

GROUPS = {
    "jobs": "/apis/batch/v1",
    "deployments": "/apis/apps/v1",
    "replicasets": "/apis/apps/v1",
    "statefulsets": "/apis/apps/v1",
    "poddisruptionbudgets": "/apis/policy/v1",
}
CONFLICT, NOT_FOUND, GONE, TOO_MANY = 409, 404, 410, 429
CALL_SECONDS = 10.0
AGAIN_SECONDS = 0.1
WATCH_SECONDS = 300
# Of a patch: lists such as a status's conditions are merged by their keys.
STRATEGIC = "application/strategic-merge-patch+json"
LINE_BYTES = 4 * 2**20


class Refused(Exception):
    """The API server says no, in its own words."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


def path_of(kind: str, namespace: str = "", name: str = "", part: str = "") -> str:
    """Return where an object is, or a kind's list, or a `part` of an object such as its `status`."""
    within = ["namespaces", namespace] if namespace else []
    return "/".join([GROUPS.get(kind, "/api/v1"), *filter(None, [*within, kind, name, part])])


def key_of(obj: Object) -> tuple[str, str]:
    """Return an object's namespace and name."""
    return obj["metadata"].get("namespace", ""), obj["metadata"]["name"]


class Api:
    """Calls raise `Refused`, `aiohttp.ClientError` or `TimeoutError`."""

    def __init__(self, url: str, certificate: Path, token: str) -> None:
        trusted = ssl.create_default_context(cafile=str(certificate))
        self._session = aiohttp.ClientSession(
            url,
            headers={"Authorization": f"Bearer {token}"},
            connector=aiohttp.TCPConnector(ssl=trusted, limit=0),
            timeout=aiohttp.ClientTimeout(total=CALL_SECONDS),
            read_bufsize=LINE_BYTES,
        )

    async def close(self) -> None:
        await self._session.close()

    async def get(self, path: str, **params: str) -> Object:
        return await self._call("GET", path, params=params)

    async def create(self, path: str, obj: Object) -> Object:
        return await self._call("POST", path, json=obj)

    async def patch(self, path: str, change: Object) -> Object:
        return await self._call("PATCH", path, data=json.dumps(change), headers={"Content-Type": STRATEGIC})

    async def delete(self, path: str, *, grace: int | None = None, uid: str | None = None) -> Object:
        options: Object = {} if grace is None else {"gracePeriodSeconds": grace}
        return await self._call(
            "DELETE", path, json=options | ({"preconditions": {"uid": uid}} if uid else {})
        )

    async def surely(self, call: Callable[[], Awaitable[T]]) -> T:
        """Return what `call` does, as soon as the server can be reached. Raises `Refused`."""
        while True:
            try:
                return await call()
            except Refused as e:
                if e.status < 500 and e.status != TOO_MANY:
                    raise
            except (aiohttp.ClientError, TimeoutError):
                pass
            await asyncio.sleep(AGAIN_SECONDS)

    async def watch(self, path: str, version: str) -> AsyncGenerator[tuple[str, Object], None]:
        """Yield what happens after `version` until the server ends it. Raises `Refused`, 410 where that is too old."""
        params = {"watch": "1", "resourceVersion": version, "allowWatchBookmarks": "true"}
        params["timeoutSeconds"] = str(WATCH_SECONDS)
        endless = aiohttp.ClientTimeout(total=None, sock_connect=CALL_SECONDS)
        async with self._session.get(path, params=params, timeout=endless) as answer:
            await _raise_if_refused(answer)
            async for line in answer.content:
                event = json.loads(line)
                if event["type"] == "ERROR":
                    raise Refused(event["object"].get("code", GONE), event["object"].get("message", ""))
                yield event["type"], event["object"]

    async def _call(self, method: str, path: str, **how: Any) -> Object:
        async with self._session.request(method, path, **how) as answer:
            await _raise_if_refused(answer)
            told: Object = await answer.json()
            return told


async def _raise_if_refused(answer: aiohttp.ClientResponse) -> None:
    if answer.status >= 400:
        said = await answer.text()
        with contextlib.suppress(ValueError, KeyError):
            said = json.loads(said)["message"]
        raise Refused(answer.status, said)
