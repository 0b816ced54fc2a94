"""The calls to the API server; the one place that knows its client library.

Objects are plain dicts, as the API server's JSON has them.
"""

import contextlib
import json
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, Literal, Self

from aiohttp import ClientError, ClientResponse
from kubernetes_asyncio import client, config

from services.runtime.errors import SettingsError, Unavailable
from services.scheduler.jobs.objects import Object

Kind = Literal["jobs", "pods"]
# Of the client library: it says that it returns its own models, which we never ask for.
Method = Callable[..., Awaitable[Any]]

# A watch is opened anew after so long; the server says about once a minute how far it is, and before it ends.
WATCH_SECONDS = 300
# A watch on which nothing comes for so long is dead, whatever TCP thinks.
SILENT_SECONDS = 180.0
CALL_SECONDS = 10.0
# Of a list: more come page by page.
PAGE = 500
NOT_FOUND, CONFLICT, GONE = 404, 409, 410
ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")


class Refused(Exception):
    """The API server says no, in its own words."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class Cluster:
    """The Jobs and Pods of one namespace. Everything raises `Unavailable` where no answer can be had, and `Refused`."""

    def __init__(self, api: client.ApiClient, namespace: str) -> None:
        self._api = api
        self._core = client.CoreV1Api(api)
        self._batch = client.BatchV1Api(api)
        self._well_known = client.OpenidApi(api), client.WellKnownApi(api)
        self._namespace = namespace

    @classmethod
    def inside(cls, namespace: str, account: Path = ACCOUNT) -> Self:
        """Return the cluster that this process runs in, by the ServiceAccount's folder. Raises `SettingsError`."""
        configuration = client.Configuration()
        loader = config.incluster_config.InClusterConfigLoader(
            token_filename=str(account / "token"), cert_filename=str(account / "ca.crt")
        )
        try:
            loader.load_and_set(configuration)
        except config.ConfigException as e:
            raise SettingsError(f"this process is in no cluster: {e}") from e
        return cls(client.ApiClient(configuration), namespace)

    async def close(self) -> None:
        """Close its connections."""
        await self._api.close()

    async def listed(self, kind: Kind, selector: str) -> tuple[list[Object], str]:
        """Return all that `selector` selects, and the version of the whole from which a watch goes on."""
        found: list[Object] = []
        going_on: dict[str, Any] = {}
        while True:
            page = await self._call(
                self._listing(kind), self._namespace, label_selector=selector, limit=PAGE, **going_on
            )
            found += page["items"]
            if not (token := page["metadata"].get("continue")):
                return found, page["metadata"]["resourceVersion"]
            going_on = {"_continue": token}

    async def watch(
        self, kind: Kind, selector: str, version: str
    ) -> AsyncGenerator[tuple[str, Object], None]:
        """Yield what happens after `version`, until the server ends it: `ADDED`, `MODIFIED`, `DELETED`, `BOOKMARK`.

        Raises `Refused` with status 410 where the version is too old.
        """
        answer = await _answered(
            self._listing(kind)(
                self._namespace,
                label_selector=selector,
                resource_version=version,
                watch=True,
                allow_watch_bookmarks=True,
                timeout_seconds=WATCH_SECONDS,
                _request_timeout=(CALL_SECONDS, SILENT_SECONDS),
                _preload_content=False,
            )
        )
        async with contextlib.aclosing(_lines(answer)) as lines:
            async for line in lines:
                if line["type"] == "ERROR":
                    raise _refused(line["object"].get("code", 0), line["object"])
                yield line["type"], line["object"]

    async def create_job(self, job: Object) -> Object:
        """Create `job` and return it as it is then. `Refused` with status 409: its name is taken."""
        return await self._call(self._batch.create_namespaced_job, self._namespace, job)

    async def job(self, name: str) -> Object | None:
        """Return the Job, None where there is none."""
        return await self._found(self._batch.read_namespaced_job, name)

    async def delete_job(self, name: str, uid: str, version: str = "") -> None:
        """Delete the Job after its Pods, which are told to end; one that is gone is no error.

        With `version`, its resource version, one that has changed since is left as it is.
        """
        known = {"uid": uid} | ({"resourceVersion": version} if version else {})
        options = {"propagationPolicy": "Foreground", "preconditions": known}
        try:
            await self._call(self._batch.delete_namespaced_job, name, self._namespace, body=options)
        except Refused as e:
            if e.status not in {NOT_FOUND, CONFLICT}:
                raise

    async def pod(self, name: str) -> Object | None:
        """Return the Pod, None where there is none."""
        return await self._found(self._core.read_namespaced_pod, name)

    async def annotate_pod(self, name: str, annotations: Mapping[str, str]) -> None:
        """Set `annotations` of the Pod; one that is gone is no error."""
        patch = {"metadata": {"annotations": dict(annotations)}}
        try:
            await self._call(self._core.patch_namespaced_pod, name, self._namespace, patch)
        except Refused as e:
            if e.status != NOT_FOUND:
                raise

    async def events_of(self, uid: str) -> list[Object]:
        """Return what the cluster tells of the object `uid`."""
        page = await self._call(
            self._core.list_namespaced_event, self._namespace, field_selector=f"involvedObject.uid={uid}"
        )
        return list(page["items"])

    async def signers(self) -> tuple[str, Object]:
        """Return who signs ServiceAccounts' tokens, and the public keys, as a JSON Web Key Set."""
        openid, well_known = self._well_known
        about = await self._call(well_known.get_service_account_issuer_open_id_configuration)
        return about["issuer"], await self._call(openid.get_service_account_issuer_open_id_keyset)

    def _listing(self, kind: Kind) -> Method:
        both: dict[Kind, Method] = {
            "jobs": self._batch.list_namespaced_job,
            "pods": self._core.list_namespaced_pod,
        }
        return both[kind]

    async def _found(self, read: Method, name: str) -> Object | None:
        try:
            return await self._call(read, name, self._namespace)
        except Refused as e:
            if e.status == NOT_FOUND:
                return None
            raise

    async def _call(self, method: Method, *args: Any, **more: Any) -> Object:
        call = method(*args, _preload_content=False, _request_timeout=CALL_SECONDS, **more)
        answer = await _answered(call)
        try:
            found: Object = json.loads(await answer.read())
        except (ClientError, TimeoutError, ValueError) as e:
            raise _away(e) from e
        return found


async def _answered(call: Awaitable[Any]) -> ClientResponse:
    """Return the answer of `call` where it is a good one."""
    try:
        answer: ClientResponse = await call
        if answer.status < 300:
            return answer
        body = await answer.read()
    except (ClientError, TimeoutError, OSError) as e:
        raise _away(e) from e
    if answer.status >= 500 or answer.status == 429:
        raise Unavailable(f"the API server is busy or away ({answer.status})")
    raise _refused(answer.status, _status(body))


async def _lines(answer: ClientResponse) -> AsyncGenerator[Object, None]:
    try:
        async for line in answer.content:
            yield json.loads(line)
    except (ClientError, TimeoutError, OSError, ValueError) as e:
        raise _away(e) from e
    finally:
        answer.close()


def _status(body: bytes) -> Object:
    with contextlib.suppress(ValueError):
        found = json.loads(body)
        if isinstance(found, dict):
            return found
    return {}


def _refused(status: int, said: Object) -> Refused:
    return Refused(status, str(said.get("message") or said.get("reason") or "it was refused")[:500])


def _away(error: Exception) -> Unavailable:
    return Unavailable(f"the API server does not answer: {str(error) or type(error).__name__}")
