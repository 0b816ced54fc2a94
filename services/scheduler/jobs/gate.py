"""Who knocks: a token that the cluster signed for one Pod, and what the cluster says of that Pod now."""

import asyncio
from typing import Any

import jwt
import msgspec
import structlog

from services.runtime.errors import Unavailable
from services.scheduler.jobs.cluster import Cluster, Refused
from services.scheduler.jobs.job import POOL_LABEL
from services.scheduler.jobs.naming import worker_of
from services.scheduler.jobs.pools import Pools
from services.scheduler.jobs.state import is_leaving, job_uid_of, pod_has_ended

log = structlog.get_logger(__name__)

ALGORITHMS = ["RS256", "ES256", "ES384", "ES512"]
# A cluster changes its keys seldom; whoever shows tokens of unknown keys may not have us ask more often than this.
ASK_AGAIN_SECONDS = 10.0


class _Named(msgspec.Struct):
    name: str
    uid: str = ""


class _Bearer(msgspec.Struct):
    """What the API server writes into the token of a Pod."""

    namespace: str
    pod: _Named
    serviceaccount: _Named


class JobGate:
    """Lets in the workers of `pools` in `cluster`."""

    def __init__(self, cluster: Cluster, pools: Pools) -> None:
        self._cluster = cluster
        self._pools = pools
        self._issuer = ""
        self._keys: dict[str, jwt.PyJWK] = {}
        self._asked_at = -ASK_AGAIN_SECONDS
        self._asking = asyncio.Lock()

    async def refusal(self, pool: str, worker: str, shown: str) -> str:
        """Return why `shown` is not the token of `worker` in `pool`, empty where it is. Raises `Unavailable`."""
        try:
            bearer = await self._bearer(shown)
        except (jwt.InvalidTokenError, msgspec.ValidationError) as e:
            return f"The token is none that this cluster gave a worker ({e})."
        if (bearer.namespace, bearer.serviceaccount.name) != (
            self._pools.namespace,
            self._pools.service_account,
        ):
            return "The token is not that of a worker."
        pod = await self._pod(bearer.pod.name)
        if pod is None or pod["metadata"]["uid"] != bearer.pod.uid or pod_has_ended(pod) or is_leaving(pod):
            return "The token's pod is gone."
        if worker_of(job_uid_of(pod)) != worker or pod["metadata"]["labels"].get(POOL_LABEL) != pool:
            return "The token is that of another worker."
        return ""

    async def _bearer(self, shown: str) -> _Bearer:
        key = await self._key(str(jwt.get_unverified_header(shown).get("kid", "")))
        claims = jwt.decode(
            shown,
            key,
            algorithms=ALGORITHMS,
            audience=self._pools.audience,
            issuer=self._issuer,
            options={"require": ["exp", "iss", "aud"]},
        )
        return msgspec.convert(claims.get("kubernetes.io"), _Bearer)

    async def _key(self, kid: str) -> jwt.PyJWK:
        async with self._asking:
            if kid not in self._keys:
                await self._learn()
        if kid not in self._keys:
            raise jwt.InvalidTokenError("its key is not one of the cluster's")
        return self._keys[kid]

    async def _learn(self) -> None:
        now = asyncio.get_running_loop().time()
        if now < self._asked_at + ASK_AGAIN_SECONDS:
            return
        try:
            self._issuer, keys = await self._cluster.signers()
        except Refused as e:
            raise Unavailable(f"the cluster does not tell its keys: {e}") from e
        self._asked_at = now
        self._keys = {str(key.key_id): key for key in jwt.PyJWKSet.from_dict(keys).keys}

    async def _pod(self, name: str) -> dict[str, Any] | None:
        try:
            return await self._cluster.pod(name)
        except Refused as e:
            raise Unavailable(f"the pod cannot be read: {e}") from e
