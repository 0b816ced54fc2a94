"""A real API server with its etcd and controller manager, on this machine, for as long as a test needs them."""

import asyncio
import base64
import contextlib
import json
import secrets
import ssl
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import aiohttp
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from tests.chaos.fleet import Program, eventually
from tests.containers import free_port
from tests.kubernetes import assets

READY_SECONDS = 60.0
ISSUER = "https://kubernetes.default.svc.cluster.local"
# What the tests need of the controller manager; nodes, volumes and clouds are nobody's here.
CONTROLLERS = (
    "deployment-controller",
    "replicaset-controller",
    "job-controller",
    "namespace-controller",
    "serviceaccount-controller",
    "root-ca-certificate-publisher-controller",
    "resourcequota-controller",
    "garbage-collector-controller",
    "ttl-after-finished-controller",
    "disruption-controller",
    "endpointslice-controller",
    "statefulset-controller",
)


class ControlPlane:
    """Starts and stops its programs one by one, so that each may be killed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port, self._etcd, self._peer = free_port(), free_port(), free_port()
        self.token = secrets.token_hex(16)
        self.programs: dict[str, Program] = {}

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.port}"

    @property
    def certificate(self) -> Path:
        """What whoever connects trusts."""
        return self.folder / "certificates" / "apiserver.crt"

    def kubeconfig(self, name: str = "admin", token: str | None = None) -> Path:
        """Return a kubeconfig by which `token` connects, the administrator's by default."""
        path = self.folder / f"{name}.kubeconfig"
        certificate = base64.b64encode(self.certificate.read_bytes()).decode()
        given = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "it",
            "clusters": [
                {"name": "it", "cluster": {"server": self.url, "certificate-authority-data": certificate}}
            ],
            "users": [{"name": "it", "user": {"token": token or self.token}}],
            "contexts": [{"name": "it", "context": {"cluster": "it", "user": "it"}}],
        }
        path.touch(0o600)
        path.write_text(json.dumps(given))
        return path

    async def start(self) -> None:
        """Start all of it. Raises `NoAssets`."""
        where = assets.folder()
        self._write_keys()
        for name, command in {
            "etcd": self._etcd_command(),
            "kube-apiserver": self._apiserver_command(),
        }.items():
            await self._start(name, [str(where / name), *command])
        if not await eventually(self.answers, READY_SECONDS):
            raise RuntimeError(f"the API server does not answer; see {self.folder}")
        manager = str(where / "kube-controller-manager")
        await self._start("kube-controller-manager", [manager, *self._manager_command()])

    async def stop(self) -> None:
        for program in reversed(self.programs.values()):
            await program.stop()

    async def answers(self) -> bool:
        """Whether the API server is ready."""
        if not self.certificate.exists():
            return False
        trusted = ssl.create_default_context(cafile=str(self.certificate))
        with contextlib.suppress(aiohttp.ClientError, TimeoutError):
            async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=2)) as session:
                headers = {"Authorization": f"Bearer {self.token}"}
                async with session.get(f"{self.url}/readyz", ssl=trusted, headers=headers) as answer:
                    return answer.status == 200
        return False

    async def _start(self, name: str, command: list[str]) -> None:
        program = Program(name=name, command=command, environ={}, log=self.folder / f"{name}.log")
        self.programs[name] = program
        await program.start()

    def _write_keys(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        (self.folder / "accounts.key").write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.TraditionalOpenSSL,
                serialization.NoEncryption(),
            )
        )
        (self.folder / "tokens.csv").write_text(f"{self.token},admin,admin,system:masters\n")

    def _etcd_command(self) -> list[str]:
        client, peer = f"http://127.0.0.1:{self._etcd}", f"http://127.0.0.1:{self._peer}"
        return _flags(
            {
                "data-dir": str(self.folder / "etcd"),
                "listen-client-urls": client,
                "advertise-client-urls": client,
                "listen-peer-urls": peer,
                "initial-advertise-peer-urls": peer,
                "initial-cluster": f"default={peer}",
                "unsafe-no-fsync": "true",
            }
        )

    def _apiserver_command(self) -> list[str]:
        key = str(self.folder / "accounts.key")
        return _flags(
            {
                "etcd-servers": f"http://127.0.0.1:{self._etcd}",
                "bind-address": "127.0.0.1",
                "advertise-address": "127.0.0.1",
                "secure-port": str(self.port),
                "cert-dir": str(self.certificate.parent),
                "authorization-mode": "RBAC",
                "token-auth-file": str(self.folder / "tokens.csv"),
                "service-account-key-file": key,
                "service-account-signing-key-file": key,
                "service-account-issuer": ISSUER,
                "service-cluster-ip-range": "10.96.0.0/16",
            }
        )

    def _manager_command(self) -> list[str]:
        config = str(self.kubeconfig())
        return _flags(
            {
                "kubeconfig": config,
                "authentication-kubeconfig": config,
                "authorization-kubeconfig": config,
                "use-service-account-credentials": "true",
                "service-account-private-key-file": str(self.folder / "accounts.key"),
                "root-ca-file": str(self.certificate),
                "controllers": ",".join(CONTROLLERS),
                "leader-elect": "false",
                "bind-address": "127.0.0.1",
                "secure-port": str(free_port()),
            }
        )


def _flags(values: Mapping[str, str]) -> list[str]:
    return [f"--{name}={value}" for name, value in values.items()]


@contextlib.asynccontextmanager
async def control_plane(folder: Path) -> AsyncIterator[ControlPlane]:
    """Run one for the body."""
    plane = ControlPlane(folder)
    try:
        await plane.start()
        yield plane
    finally:
        await asyncio.shield(plane.stop())
