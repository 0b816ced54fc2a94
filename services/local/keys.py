"""The keys of a broker that trusts nobody: made once, with a credential for each client that has no more than its rights.

The operator's and the account's own keys sign once and are forgotten: what nobody has, nobody steals. The account's
signing key stays; whoever has it makes users, which is the scheduler's work.
"""

import os
from pathlib import Path

import msgspec

from schemas.rights import CLIENTS, LOCAL, Client, rights
from services.local.errors import LocalError
from services.runtime.claims import account_jwt, creds, operator_jwt, user_jwt
from services.runtime.nkey import NKey

# A client sends its JWT in one line; with the rights of a scheduler that is 10 kB, and the server's default is 4 KiB.
CONTROL_LINE = 32 * 1024
# The account of a broker without accounts.
NOBODY = "$G"
BROKER, SIGNING, ACCOUNT = "broker.conf", "signing.nk", "account"


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
    def signing(self) -> Path:
        """The key that signs users."""
        return self.folder / SIGNING

    @property
    def account(self) -> str:
        """The public key of the account."""
        return (self.folder / ACCOUNT).read_text().strip()

    def of(self, name: str) -> Path:
        """Return the creds file of the client `name`."""
        return self.folder / f"{name}.creds"


def made(folder: Path, clients: tuple[Client, ...] = CLIENTS) -> Keys:
    """Return the keys in `folder`, made where there are none, with a fresh credential for each of `clients`.

    Raises `KeysError`.
    """
    keys = Keys(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        if not keys.broker.exists():
            _found(keys)
        _issue(keys, clients)
    except OSError as e:
        raise KeysError(f"the keys in {folder} cannot be written ({e.strerror}); is it yours?") from e
    return keys


def local_keys(folder: Path) -> Keys:
    """Return the keys of a local mode in `folder`, made where there are none. Raises `KeysError`."""
    return made(folder, (*CLIENTS, LOCAL))


def adopted(keys: Keys, store: Path) -> None:
    """Give the account what a broker without accounts has stored in `store`, where it has nothing yet."""
    nobodys, ours = store / "jetstream" / NOBODY, store / "jetstream" / keys.account
    if nobodys.is_dir() and not ours.exists():
        nobodys.rename(ours)


def _found(keys: Keys) -> None:
    operator, system = NKey.generate("operator"), NKey.generate("account")
    account, signing = NKey.generate("account"), NKey.generate("account")
    of_system = account_jwt(operator, system.public, "SYS")
    of_account = account_jwt(operator, account.public, "THREADMILL", signing=signing.public, stores=True)
    _write(keys.signing, signing.seed + "\n")
    _write(keys.folder / ACCOUNT, account.public + "\n")
    # Last: where it is, all is.
    _write(
        keys.broker,
        f"operator: {operator_jwt(operator, system.public)}\n"
        f"system_account: {system.public}\n"
        f"max_control_line: {CONTROL_LINE}\n"
        "resolver: MEMORY\n"
        f"resolver_preload: {{\n  {system.public}: {of_system}\n  {account.public}: {of_account}\n}}\n",
    )


def _issue(keys: Keys, clients: tuple[Client, ...]) -> None:
    signer = NKey(keys.signing.read_text().strip())
    for client in clients:
        user = NKey.generate("user")
        _write(keys.of(client.name), creds(user_jwt(signer, keys.account, user.public, rights(client)), user))


def _write(path: Path, content: str) -> None:
    fresh = path.with_name(f".{path.name}.new")
    fresh.unlink(missing_ok=True)
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(content)
    fresh.rename(path)
