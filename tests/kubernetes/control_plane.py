"""A real API server with its etcd and controller manager, on this machine, for as long as a test needs them."""

import asyncio
import base64
import contextlib
import json
import secrets
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from tests.chaos.fleet import eventually, listening
from tests.kubernetes import assets, flags
from tests.kubernetes.server import Server
from tests.ports import free_port

READY_SECONDS = 60.0
KUBECTL_SECONDS = 120.0


class KubectlFailed(Exception):
    """What `kubectl` said when it would not."""


class ControlPlane:
    """Three programs, each of which may be killed and started again. Everything of theirs lies in `folder`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        self.token = secrets.token_hex(16)
        self._where = assets.folder()
        self._etcd_port = free_port()
        self.etcd = self._server("etcd", flags.etcd(folder, self._etcd_port, free_port()))
        self.apiserver = self._server("kube-apiserver", flags.apiserver(folder, self.port, self._etcd_port))
        told = flags.controller_manager(folder, free_port(), folder / "admin.kubeconfig", self.certificate)
        self.manager = self._server("kube-controller-manager", told)

    def _server(self, name: str, options: list[str]) -> Server:
        return Server([str(self._where / name), *options], self.folder / f"{name}.log")

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.port}"

    @property
    def certificate(self) -> Path:
        """What whoever connects trusts."""
        return self.folder / "certificates" / "apiserver.crt"

    async def start(self) -> None:
        """Start all of it. Raises `NoAssets`."""
        self._write_keys()
        self.etcd.start()
        await listening(self._etcd_port)  # whoever asks too early asks again a second later
        self.apiserver.start()
        await self.until_ready()
        self.kubeconfig("admin", self.token)
        self.manager.start()

    def end(self) -> None:
        """Kill all of it: nothing that it holds is worth an orderly end."""
        for server in (self.manager, self.apiserver, self.etcd):
            server.kill()

    async def until_ready(self) -> None:
        """Return once the API server answers."""
        if not await eventually(self.answers, READY_SECONDS, every=0.05):
            raise RuntimeError(f"the API server does not answer; its log is {self.apiserver.log}")

    async def answers(self) -> bool:
        """Whether the API server is ready."""
        if not self.certificate.exists():
            return False
        trusted = ssl.create_default_context(cafile=str(self.certificate))
        headers, limit = {"Authorization": f"Bearer {self.token}"}, aiohttp.ClientTimeout(total=2)
        with contextlib.suppress(aiohttp.ClientError, TimeoutError):
            async with (
                aiohttp.ClientSession(timeout=limit, headers=headers) as session,
                session.get(f"{self.url}/readyz", ssl=trusted) as answer,
            ):
                return answer.status == 200
        return False

    def kubeconfig(self, name: str, token: str) -> Path:
        """Return a kubeconfig by which whoever has `token` connects."""
        certificate = base64.b64encode(self.certificate.read_bytes()).decode()
        server = {"server": self.url, "certificate-authority-data": certificate}
        given = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "it",
            "clusters": [{"name": "it", "cluster": server}],
            "users": [{"name": "it", "user": {"token": token}}],
            "contexts": [{"name": "it", "context": {"cluster": "it", "user": "it"}}],
        }
        path = self.folder / f"{name}.kubeconfig"
        path.touch(0o600)
        path.write_text(json.dumps(given))
        return path

    async def service_account_kubeconfig(self, namespace: str, name: str) -> Path:
        """Return a kubeconfig by which one connects as a ServiceAccount."""
        token = await self.kubectl("create", "token", name, "--namespace", namespace)
        return self.kubeconfig(f"{namespace}.{name}", token.strip())

    async def kubectl(self, *arguments: str, kubeconfig: Path | None = None, given: str = "") -> str:
        """Return what kubectl prints, with `given` as its input. Raises `KubectlFailed`."""
        process = await asyncio.create_subprocess_exec(
            str(self._where / "kubectl"),
            f"--kubeconfig={kubeconfig or self.folder / 'admin.kubeconfig'}",
            f"--cache-dir={self.folder / 'kubectl'}",
            *arguments,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env={"HOME": str(self.folder)},
        )
        try:
            said, complaint = await asyncio.wait_for(process.communicate(given.encode()), KUBECTL_SECONDS)
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        if process.returncode:
            raise KubectlFailed(complaint.decode().strip() or said.decode().strip())
        return said.decode()

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
        (self.folder / flags.POLICY).write_text(json.dumps(flags.AUDIT_POLICY))
        (self.folder / "tokens.csv").write_text(f"{self.token},admin,admin,system:masters\n")


@contextlib.asynccontextmanager
async def control_plane(folder: Path) -> AsyncIterator[ControlPlane]:
    """Run one for the body. Raises `NoAssets`."""
    plane = ControlPlane(folder)
    try:
        await plane.start()
        yield plane
    finally:
        plane.end()
