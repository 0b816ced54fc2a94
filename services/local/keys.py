"""The keys of a broker that trusts nobody: made once, with a credential for each client that has no more than its rights.

The operator's and the accounts' own keys sign once and are forgotten: what nobody has, nobody steals. What stays are the
accounts' names and the keys that sign users: of the services' account and the door's, for fresh credentials, and of the
workers', for the scheduler. What the broker includes is made anew each time, by a fresh operator, and users stay who they are.
"""

import os
from pathlib import Path

import msgspec

from schemas.rights import CLIENTS, LOCAL, Client, rights
from schemas.worker_rights import AT_THE_DOOR, DOOR, SHARED, Shared
from services.local.errors import LocalError
from services.runtime.claims import Account, account_jwt, operator_jwt
from services.runtime.issuer import Issuer
from services.runtime.nkey import NKey

# A client sends its JWT in one line; with the rights of a scheduler that is 5 kB, and the server's default is 4 KiB.
CONTROL_LINE = 32 * 1024
# The account of a broker without accounts.
NOBODY = "$G"
# Connections of all workers together; a worker has one, and for a moment two.
WORKERS = 10_000
# And of all that knock, each for a moment. An account of its own, since its credential lies where every agent can read it:
# whoever takes all of these keeps nobody from working.
KNOCKING = 1_000
SYSTEM = "system_account: "
BROKER, OF_SERVICES, OF_WORKERS, OF_DOOR = "broker.conf", "services.key", "workers.key", "door.key"


class KeysError(LocalError):
    """The folder of the keys cannot be used."""


class Keys(msgspec.Struct, frozen=True):
    """A folder of keys, readable by its owner alone."""

    folder: Path

    @property
    def broker(self) -> Path:
        """What the broker's configuration includes."""
        return self.folder / BROKER

    @property
    def services(self) -> Path:
        """The key that signs services and operators."""
        return self.folder / OF_SERVICES

    @property
    def workers(self) -> Path:
        """The key that signs workers."""
        return self.folder / OF_WORKERS

    @property
    def door(self) -> Path:
        """The key that signs whoever knocks."""
        return self.folder / OF_DOOR

    def of(self, name: str) -> Path:
        """Return the creds file of the client `name`."""
        return self.folder / f"{name}.creds"


def made(folder: Path, clients: tuple[Client, ...] = CLIENTS) -> Keys:
    """Return the keys in `folder`, made where there are none, with a fresh credential for each of `clients`.

    What the broker includes is as this version has it.

    Raises `KeysError`.
    """
    keys = Keys(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        if not keys.broker.exists():
            _found(keys.services, keys.workers)
        # A folder of an older version has none.
        if not keys.door.exists():
            _found(keys.door)
        _configure(keys)
        _issue(keys, clients)
    except OSError as e:
        raise KeysError(f"the keys in {folder} cannot be written ({e.strerror}); is it yours?") from e
    return keys


def local_keys(folder: Path) -> Keys:
    """Return the keys of a local mode in `folder`, made where there are none. Raises `KeysError`."""
    return made(folder, (*CLIENTS, LOCAL))


def adopted(keys: Keys, store: Path) -> None:
    """Give the account what a broker without accounts has stored in `store`, where it has nothing yet."""
    nobodys, ours = store / "jetstream" / NOBODY, store / "jetstream" / Issuer.read(keys.services).account
    if nobodys.is_dir() and not ours.exists():
        nobodys.rename(ours)


def _found(*issuers: Path) -> None:
    for path in issuers:
        _write(path, Issuer(NKey.generate("account").public, NKey.generate("account")).kept())


def _configure(keys: Keys) -> None:
    """Write what the broker includes anew: what accounts lend each other may have changed since it was written."""
    operator, system = NKey.generate("operator"), _system(keys)
    preload = "".join(
        f"  {account.public}: {account_jwt(operator, account)}\n" for account in _accounts(keys, system)
    )
    # Last: where it is, all is.
    _write(
        keys.broker,
        f"operator: {operator_jwt(operator, system)}\n"
        f"{SYSTEM}{system}\n"
        f"max_control_line: {CONTROL_LINE}\n"
        f"resolver: MEMORY\nresolver_preload: {{\n{preload}}}\n",
    )


def _accounts(keys: Keys, system: str) -> tuple[Account, ...]:
    services = Issuer.read(keys.services)
    lends = (*SHARED, *AT_THE_DOOR)
    return (
        Account(public=system, name="SYS"),
        Account(
            public=services.account, name="THREADMILL", signing=services.public, stores=True, lends=lends
        ),
        _borrower(Issuer.read(keys.workers), "WORKERS", WORKERS, SHARED, services.account),
        _borrower(Issuer.read(keys.door), "DOOR", KNOCKING, AT_THE_DOOR, services.account),
    )


def _borrower(
    issuer: Issuer, name: str, connections: int, borrows: tuple[Shared, ...], lender: str
) -> Account:
    return Account(
        public=issuer.account,
        name=name,
        signing=issuer.public,
        connections=connections,
        borrows=borrows,
        lender=lender,
    )


def _system(keys: Keys) -> str:
    # It stays: under its name a cluster keeps what it knows of its streams.
    if keys.broker.exists():
        for line in keys.broker.read_text().splitlines():
            if line.startswith(SYSTEM):
                return line.removeprefix(SYSTEM)
    return NKey.generate("account").public


def _issue(keys: Keys, clients: tuple[Client, ...]) -> None:
    services = Issuer.read(keys.services)
    for client in clients:
        _write(keys.of(client.name), services.creds(rights(client)))
    _write(keys.of(DOOR.name), Issuer.read(keys.door).creds(DOOR))


def _write(path: Path, content: str) -> None:
    fresh = path.with_name(f".{path.name}.new")
    fresh.unlink(missing_ok=True)
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(content)
    fresh.rename(path)
