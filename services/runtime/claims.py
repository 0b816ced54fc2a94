"""The JWTs by which a broker in operator mode knows who may do what: claims of NATS, version 2. Pure.

https://docs.nats.io/running-a-nats-service/configuration/securing_nats/auth_intro/jwt
"""

import base64
import time
from hashlib import sha256
from typing import Any

import msgspec

from schemas.rights import Rights
from schemas.worker_rights import Shared
from services.runtime.nkey import NKey

HEAD = {"typ": "JWT", "alg": "ed25519-nkey"}
UNLIMITED = -1
# Whoever answers requests may do so once each, within this time: an archive's page may take long to be read.
ANSWER_SECONDS = 60
NANOSECONDS = 1_000_000_000


def operator_jwt(operator: NKey, system: str) -> str:
    """Return the operator's own; `system` is the public key of the account that the broker itself uses."""
    claims = {"type": "operator", "system_account": system}
    return _signed(operator, operator.public, "threadmill", claims)


class Account(msgspec.Struct, frozen=True, kw_only=True):
    """An account: its users are signed by the key `signing`; with `stores` it has JetStream, without limits.

    Its users may have `connections`, -1 for any number. It `lends` subjects to others, and borrows those that `lender`, a public key, lends.
    """

    public: str
    name: str
    signing: str = ""
    stores: bool = False
    connections: int = UNLIMITED
    lends: tuple[Shared, ...] = ()
    borrows: tuple[Shared, ...] = ()
    lender: str = ""


def account_jwt(operator: NKey, account: Account) -> str:
    """Return the JWT of `account`."""
    limits = dict.fromkeys(("subs", "data", "payload", "imports", "exports", "leaf"), UNLIMITED)
    limits["conn"] = account.connections
    if account.stores:
        limits |= dict.fromkeys(("mem_storage", "disk_storage", "streams", "consumer"), UNLIMITED)
    claims: dict[str, Any] = {
        "type": "account",
        "limits": limits | {"wildcards": True},
        "exports": [_export(shared) for shared in account.lends],
        "imports": [_import(shared, account.lender) for shared in account.borrows],
    }
    if account.signing:
        claims["signing_keys"] = [account.signing]
    return _signed(operator, account.public, account.name, claims)


def _export(shared: Shared) -> dict[str, Any]:
    export = {"name": shared.subject, "subject": shared.subject}
    if shared.heard:
        return export | {"type": "stream"}
    return export | {"type": "service", "response_type": "Stream" if shared.many else "Singleton"}


def _import(shared: Shared, lender: str) -> dict[str, Any]:
    kind = "stream" if shared.heard else "service"
    return {"name": shared.subject, "subject": shared.subject, "account": lender, "type": kind}


def user_jwt(signer: NKey, account: str, user: str, rights: Rights, *, seconds: float | None = None) -> str:
    """Return a user's with `rights` and no others, by the account's signing key; it expires after `seconds`."""
    publish: dict[str, Any] = {"allow": list(rights.publish)}
    if rights.never:
        publish["deny"] = list(rights.never)
    claims: dict[str, Any] = {
        "type": "user",
        "issuer_account": account,
        "pub": publish,
        "sub": {"allow": list(rights.subscribe)},
        "subs": rights.subscriptions,
        "data": UNLIMITED,
        "payload": rights.payload,
    }
    if rights.answers:
        claims["resp"] = {"max": 1, "ttl": ANSWER_SECONDS * NANOSECONDS}
    return _signed(signer, user, rights.name, claims, seconds=seconds)


def _signed(
    issuer: NKey, subject: str, name: str, nats: dict[str, Any], *, seconds: float | None = None
) -> str:
    issued = int(time.time())
    claims: dict[str, Any] = {"iss": issuer.public, "sub": subject, "name": name, "iat": issued}
    if seconds is not None:
        claims["exp"] = issued + int(seconds)
    claims["nats"] = nats | {"version": 2}
    claims["jti"] = base64.b32encode(sha256(msgspec.json.encode(claims)).digest()).decode().rstrip("=")
    body = ".".join(_url64(msgspec.json.encode(part)) for part in (HEAD, claims))
    return f"{body}.{_url64(issuer.sign(body.encode()))}"


def _url64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


class Times(msgspec.Struct, frozen=True):
    """When a JWT was issued, and when it expires, None for never: seconds since 1970 by its issuer's clock."""

    iat: float
    exp: float | None = None


def times(jwt: str) -> Times:
    """Return the times of `jwt`; its signature is the broker's to check. Raises `ValueError`."""
    try:
        body = jwt.split(".")[1]
        return msgspec.json.decode(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)), type=Times)
    except (IndexError, ValueError, msgspec.MsgspecError) as e:
        raise ValueError("no JWT of a user") from e


def creds(jwt: str, user: NKey) -> str:
    """Return the creds file of a user."""
    return (
        f"-----BEGIN NATS USER JWT-----\n{jwt}\n------END NATS USER JWT------\n\n"
        f"-----BEGIN USER NKEY SEED-----\n{user.seed}\n------END USER NKEY SEED------\n"
    )
