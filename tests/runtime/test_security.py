"""The connection proves who it is: TLS, NKeys, creds files, each against a real broker; wrong ones are one sentence."""

import asyncio
import base64
import contextlib
import hashlib
import json
import os
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import nkeys
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from schemas.events import Notice
from services.local.broker import nats_server
from services.runtime.bus import Bus, Draft
from services.runtime.connection import BusSettings, close_connection, open_connection
from services.runtime.errors import SettingsError, Unavailable
from services.runtime.topology import apply_map

PATIENCE = 30.0


class Authority:
    """Signs certificates for 127.0.0.1; everything lies in `folder`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"test {folder.name}")])
        folder.mkdir()
        self.ca = folder / "ca.pem"
        constraint = x509.BasicConstraints(ca=True, path_length=None)
        self._write(self.ca, self._builder(self._name, self._key).add_extension(constraint, critical=True))

    def issue(self, name: str) -> tuple[Path, Path]:
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        alternative = x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))])
        cert, key_file = self._folder / f"{name}.pem", self._folder / f"{name}.key"
        self._write(cert, self._builder(subject, key).add_extension(alternative, critical=False))
        key_file.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )
        return cert, key_file

    def _builder(self, subject: x509.Name, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
        now = datetime.now(UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(hours=1))
            .not_valid_after(now + timedelta(hours=1))
        )

    def _write(self, path: Path, builder: x509.CertificateBuilder) -> None:
        path.write_bytes(builder.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))


class KeyPair:
    """An NKey of `kind` (O operator, A account, U user)."""

    def __init__(self, kind: str) -> None:
        # The server's own form: two prefix bytes, the seed, a CRC-16, in base 32.
        role = {"O": 14 << 3, "A": 0, "U": 20 << 3}[kind]
        raw = bytes([(18 << 3) | (role >> 5), (role & 31) << 3]) + os.urandom(32)
        self.seed = base64.b32encode(raw + nkeys.crc16(bytearray(raw)).to_bytes(2, "little")).rstrip(b"=")
        self._pair = nkeys.from_seed(bytearray(self.seed))
        self.public = self._pair.public_key.decode()

    def jwt(self, subject: str, name: str, nats: dict[str, Any]) -> str:
        claims = {"iss": self.public, "sub": subject, "name": name, "iat": 1, "nats": nats | {"version": 2}}
        claims["jti"] = (
            base64.b32encode(hashlib.sha256(json.dumps(claims).encode()).digest()).decode().rstrip("=")
        )
        head = {"typ": "JWT", "alg": "ed25519-nkey"}
        body = ".".join(_url64(json.dumps(part).encode()) for part in (head, claims))
        return f"{body}.{_url64(self._pair.sign(body.encode()))}"


def _url64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


@contextlib.asynccontextmanager
async def server(folder: Path, config: str) -> AsyncIterator[str]:
    """Run a broker with `config`; yield its URL."""
    ports = folder / "ports"
    ports.mkdir()
    store = f"jetstream {{ store_dir: {json.dumps(str(folder / 'store'))} }}\n"
    (folder / "nats.conf").write_text(
        f"host: 127.0.0.1\nport: -1\nports_file_dir: {json.dumps(str(ports))}\n{store}{config}\n"
    )
    with (folder / "nats.log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            nats_server(), "-c", str(folder / "nats.conf"), stdout=log, stderr=log
        )
    try:
        async with asyncio.timeout(PATIENCE):
            while not (found := [text for file in ports.glob("*.ports") if (text := file.read_text())]):
                assert process.returncode is None, (folder / "nats.log").read_text()
                await asyncio.sleep(0.01)
        yield json.loads(found[0])["nats"][0].replace("tls://", "nats://")
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def works(settings: BusSettings) -> None:
    """Store something as who `settings` says we are."""
    async with asyncio.timeout(PATIENCE):
        client = await open_connection(settings, "test", lambda: None)
        bus = Bus(client)
        await apply_map(bus)
        assert await bus.publish(Draft(subject="dead.test.x", message=Notice(text="hello"))) == 1
        await close_connection(client)


async def refused(settings: BusSettings) -> str:
    async with asyncio.timeout(PATIENCE):
        with pytest.raises(SettingsError) as refusal:
            await open_connection(settings, "test", lambda: pytest.fail("never was open"))
    sentence = str(refusal.value)
    assert "\n" not in sentence
    return sentence


def tls_config(authority: Authority, *, verify: bool = False) -> str:
    cert, key = authority.issue("server")
    more = f"ca_file: {json.dumps(str(authority.ca))}, verify: true" if verify else ""
    return f"tls {{ cert_file: {json.dumps(str(cert))}, key_file: {json.dumps(str(key))}, {more} }}"


async def test_tls_with_the_authority_that_we_know(tmp_path: Path) -> None:
    authority = Authority(tmp_path / "ours")
    async with server(tmp_path, tls_config(authority)) as url:
        await works(BusSettings(url=url, ca=authority.ca))


async def test_a_certificate_of_somebody_else_is_one_sentence(tmp_path: Path) -> None:
    ours, theirs = Authority(tmp_path / "ours"), Authority(tmp_path / "theirs")
    async with server(tmp_path, tls_config(theirs)) as url:
        assert "a certificate that is not trusted" in await refused(BusSettings(url=url, ca=ours.ca))
        assert "nats.ca names its authority" in await refused(BusSettings(url=url))


async def test_a_broker_that_wants_our_certificate_gets_it(tmp_path: Path) -> None:
    authority = Authority(tmp_path / "ours")
    cert, key = authority.issue("client")
    async with server(tmp_path, tls_config(authority, verify=True)) as url:
        await works(BusSettings(url=url, ca=authority.ca, tls_cert=cert, tls_key=key))
        assert "refuses the TLS connection" in await refused(BusSettings(url=url, ca=authority.ca))


async def test_an_nkey_that_the_broker_knows_and_one_that_it_does_not(tmp_path: Path) -> None:
    known, stranger = KeyPair("U"), KeyPair("U")
    (tmp_path / "known").write_bytes(known.seed + b"\n")
    (tmp_path / "stranger").write_bytes(stranger.seed)
    async with server(tmp_path, f"authorization {{ users: [{{ nkey: {known.public} }}] }}") as url:
        await works(BusSettings(url=url, nkey_seed=tmp_path / "known"))
        sentence = await refused(BusSettings(url=url, nkey_seed=tmp_path / "stranger"))
        assert "refuses who we say we are" in sentence
        assert stranger.seed.decode() not in sentence
        assert "refuses who we say we are" in await refused(BusSettings(url=url))


def creds(path: Path, account: KeyPair) -> Path:
    user = KeyPair("U")
    jwt = account.jwt(
        user.public, "user", {"type": "user", "pub": {}, "sub": {}, "subs": -1, "data": -1, "payload": -1}
    )
    seed = user.seed.decode()
    path.write_text(
        f"-----BEGIN NATS USER JWT-----\n{jwt}\n------END NATS USER JWT------\n\n"
        f"-----BEGIN USER NKEY SEED-----\n{seed}\n------END USER NKEY SEED------\n"
    )
    return path


async def test_a_creds_file_of_the_brokers_operator_and_one_of_another(tmp_path: Path) -> None:
    operator, system, account = KeyPair("O"), KeyPair("A"), KeyPair("A")
    free = dict.fromkeys(("subs", "data", "payload", "imports", "exports", "conn", "leaf"), -1)
    stored = dict.fromkeys(("mem_storage", "disk_storage", "streams", "consumer"), -1)
    limits = {"type": "account", "limits": free | {"wildcards": True}}
    jwts = {
        system.public: operator.jwt(system.public, "SYS", limits),
        account.public: operator.jwt(
            account.public,
            "THREADMILL",
            limits | {"limits": limits["limits"] | stored},  # type: ignore[operator]
        ),
    }
    preload = "\n".join(f"  {public}: {jwt}" for public, jwt in jwts.items())
    config = (
        f"operator: {operator.jwt(operator.public, 'test', {'type': 'operator'})}\n"
        f"system_account: {system.public}\nresolver: MEMORY\nresolver_preload: {{\n{preload}\n}}"
    )
    async with server(tmp_path, config) as url:
        await works(BusSettings(url=url, creds=creds(tmp_path / "ours.creds", account)))
        foreign = creds(tmp_path / "foreign.creds", KeyPair("A"))
        assert "refuses who we say we are" in await refused(BusSettings(url=url, creds=foreign))


@pytest.mark.parametrize("setting", ["creds", "nkey_seed", "ca", "tls_cert"])
@pytest.mark.parametrize("held", [None, b"", b"no secret of this kind\n"], ids=["missing", "empty", "wrong"])
async def test_a_file_that_cannot_be_used_is_told_by_its_setting(
    tmp_path: Path, setting: str, held: bytes | None
) -> None:
    path = tmp_path / "file"
    if held is not None:
        path.write_bytes(held)
    assert f"nats.{setting}" in await refused(BusSettings(**{setting: path}))  # type: ignore[arg-type]


async def test_a_broker_that_is_not_there_is_waited_for_only_so_long() -> None:
    with pytest.raises(Unavailable, match=r"no broker answers at nats://127.0.0.1:1 "):
        await open_connection(BusSettings(url="nats://127.0.0.1:1"), "test", lambda: None, patience=0.5)
