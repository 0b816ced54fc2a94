"""Who knocks: a token that the cluster signed for one Pod, and what the cluster says of that Pod now."""

import asyncio

import jwt
import msgspec

from services.runtime.errors import Unavailable
from services.scheduler.jobs.cluster import Cluster, Refused
from services.scheduler.jobs.naming import uid_of_worker, worker_of
from services.scheduler.jobs.objects import Object
from services.scheduler.jobs.pools import Pools
from services.scheduler.jobs.state import (
    has_ended,
    is_leaving,
    job_uid_of,
    owner_of,
    pod_has_ended,
    pool_of,
    session_of,
)

ALGORITHMS = ["RS256", "ES256", "ES384", "ES512"]
# Whoever shows tokens of unknown keys may not have us ask the cluster more often than this, nor one that is away.
ASK_AGAIN_SECONDS, AFTER_FAILURE_SECONDS = 10.0, 1.0
# Clocks of two machines differ; as much as the API server itself allows.
LEEWAY_SECONDS = 60
# A Pod knocks once, and again after an answer that was lost; one that knocks all the time costs no more than this.
KNOCK_SECONDS = 2.0


class _Named(msgspec.Struct):
    name: str
    uid: str = ""


class _Bearer(msgspec.Struct):
    """What the API server writes into the token of a Pod."""

    namespace: str
    pod: _Named
    serviceaccount: _Named


class JobGate:
    """Lets in the workers of `pools` in `cluster`.

    Asks the API server no more than one Pod may make it ask: `Unavailable` leaves a knock to the worker's next try.
    """

    def __init__(self, cluster: Cluster, pools: Pools) -> None:
        self._cluster = cluster
        self._pools = pools
        self._issuer = ""
        self._keys: dict[str, jwt.PyJWK] = {}
        self._ask_at = 0.0
        self._asking = asyncio.Lock()
        self._knocked: dict[str, float] = {}

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
        self._count(bearer.pod.uid)
        try:
            return await self._refusal_of(bearer.pod, pool, worker)
        except Refused as e:
            raise Unavailable(f"the pod or its job cannot be read: {e}") from e

    async def _refusal_of(self, named: _Named, pool: str, worker: str) -> str:
        pod = await self._cluster.pod(named.name)
        if pod is None or pod["metadata"]["uid"] != named.uid or pod_has_ended(pod) or is_leaving(pod):
            return "The token's pod is gone."
        if worker_of(job_uid_of(pod)) != worker or pool_of(pod) != pool:
            return "The token is that of another worker."
        if session_of(pod):
            return "The token's pod has had its session."
        # Labels are anybody's to write; a Job of the scheduler's own is not, and its controller suffers no second pod.
        owner = owner_of(pod)
        job = await self._cluster.job(owner) if owner else None
        if job is None or uid_of_worker(worker) != job["metadata"]["uid"] or pool_of(job) != pool:
            return "The token's pod is of no job of this pool."
        return "The token's job has ended." if has_ended(job) or is_leaving(job) else ""

    def _count(self, pod: str) -> None:
        now = asyncio.get_running_loop().time()
        self._knocked = {each: at for each, at in self._knocked.items() if now < at + KNOCK_SECONDS}
        if pod in self._knocked:
            raise Unavailable("a pod knocks too often")
        self._knocked[pod] = now

    async def _bearer(self, shown: str) -> _Bearer:
        key = await self._key(str(jwt.get_unverified_header(shown).get("kid", "")))
        claims = jwt.decode(
            shown,
            key,
            algorithms=ALGORITHMS,
            audience=self._pools.audience,
            issuer=self._issuer,
            leeway=LEEWAY_SECONDS,
            options={"require": ["exp", "iss", "aud"]},
        )
        return msgspec.convert(claims.get("kubernetes.io"), _Bearer)

    async def _key(self, kid: str) -> jwt.PyJWK:
        if kid not in self._keys:
            # Whoever shows one that is known does not wait for the others.
            async with self._asking:
                if kid not in self._keys:
                    await self._learn()
        if kid not in self._keys:
            raise jwt.InvalidTokenError("its key is not one of the cluster's")
        return self._keys[kid]

    async def _learn(self) -> None:
        now = asyncio.get_running_loop().time()
        if now < self._ask_at:
            raise Unavailable("the cluster told its keys a moment ago")
        self._ask_at = now + ASK_AGAIN_SECONDS
        try:
            issuer, keys = await self._cluster.signers()
            self._issuer, self._keys = issuer, _by_id(keys)
        except (Refused, Unavailable, jwt.PyJWTError) as e:
            self._ask_at = asyncio.get_running_loop().time() + AFTER_FAILURE_SECONDS
            raise Unavailable(f"the cluster does not tell its keys: {e}") from e


def _by_id(keys: Object) -> dict[str, jwt.PyJWK]:
    return {str(key.key_id): key for key in jwt.PyJWKSet.from_dict(keys).keys}
