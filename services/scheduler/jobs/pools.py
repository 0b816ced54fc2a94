"""The pools of workers, as a file tells them: what a Job of each asks of the cluster."""

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

import msgspec

from schemas.keys import InvalidKey, token
from services.runtime.errors import SettingsError

# What Kubernetes takes for an amount: `500m`, `2`, `4Gi`.
Quantity = Annotated[str, msgspec.Meta(pattern=r"^[0-9]+(\.[0-9]+)?(m|k|Ki|M|Mi|G|Gi|T|Ti)?$")]
Seconds = Annotated[int, msgspec.Meta(gt=0)]


class Resources(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What one worker is given; requests are what it is scheduled and counted by."""

    cpu_request: Quantity = "500m"
    cpu_limit: Quantity = "2"
    memory_request: Quantity = "2Gi"
    memory_limit: Quantity = "4Gi"
    disk: Quantity = "10Gi"


class Pool(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The Jobs of one pool. `environment` are settings of the worker, none of them secret.

    `life_seconds` is how long a worker may live, whatever it does; it hands over `grace_seconds` before. `spot` lets it run
    on nodes that go at short notice. `runtime_class` names a sandbox (gVisor, Kata), `host_users` false asks for a user
    namespace.
    """

    image: str = ""
    environment: dict[str, str] = {}
    resources: Resources = Resources()
    life_seconds: Seconds = 6 * 3600
    grace_seconds: Seconds = 120
    node_selector: dict[str, str] = {}
    tolerations: tuple[dict[str, Any], ...] = ()
    spot: Literal["", "gke", "eks", "aks"] = ""
    runtime_class: str = ""
    host_users: bool = True
    priority_class: str = ""
    pull_secret: str = ""

    @property
    def template(self) -> str:
        """A mark of all of it: Jobs with another one are of an older or newer pool."""
        return hashlib.sha256(msgspec.json.encode(self)).hexdigest()[:10]


class Pools(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The file: pools by name, in `namespace`, each worker as `service_account`.

    What proves a worker is a token of that account for `audience`; what it knocks with lies in the Secret `door`.
    """

    namespace: str
    service_account: str
    door: str
    audience: str
    pools: dict[str, Pool]

    @classmethod
    def read(cls, path: Path, image: str) -> Self:
        """Return what the YAML file at `path` tells; pools that name no image have `image`. Raises `SettingsError`."""
        try:
            found = msgspec.yaml.decode(path.read_bytes(), type=cls)
            pools = {token(name): _with_image(pool, image) for name, pool in found.pools.items()}
        except (OSError, msgspec.MsgspecError, InvalidKey) as e:
            raise SettingsError(f"the pools in {path} cannot be used: {e}") from e
        if missing := sorted(name for name, pool in pools.items() if not pool.image):
            raise SettingsError(
                f"the pool {missing[0]} in {path} names no image, nor does THREADMILL_WORKER_IMAGE"
            )
        if problems := [word for name, pool in pools.items() for word in _problems(name, pool)]:
            raise SettingsError(f"the pools in {path} cannot be used: {'; '.join(problems)}")
        return msgspec.structs.replace(found, pools=pools)


def _problems(name: str, pool: Pool) -> Iterator[str]:
    if pool.life_seconds <= pool.grace_seconds:
        yield f"the workers of {name} would leave at once: life_seconds is no longer than grace_seconds"
    for variable, value in pool.environment.items():
        if "://" in value and urlsplit(value).password:
            yield f"{variable} of {name} holds a password, which every Job would tell: it belongs into THREADMILL_SECRETS"


def _with_image(pool: Pool, image: str) -> Pool:
    return pool if pool.image else msgspec.structs.replace(pool, image=image)
