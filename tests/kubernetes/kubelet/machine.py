"""What the nodes of one cluster share of this machine."""

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import aiohttp

from tests.kubernetes.api import Api
from tests.kubernetes.kubelet.images import Images
from tests.kubernetes.kubelet.network import Network

ROOT = Path(__file__).parents[3]


@dataclass(frozen=True)
class Machine:
    """`folder` holds the Pods' files and logs, and the folders of claims; `server` is the API server's port."""

    folder: Path
    server: int
    api: Api
    network: Network
    images: Images
    probing: aiohttp.ClientSession
    # Where a command begins whose container says nothing of it: an image's own place, so that `python -m` finds us.
    begin: Path = ROOT

    def environ(self, host: str) -> Mapping[str, str]:
        """Return what every container is told, and where programs are: this environment's own come first."""
        return {
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "HOSTNAME": host,
            "KUBERNETES_SERVICE_HOST": "127.0.0.1",
            "KUBERNETES_SERVICE_PORT": str(self.server),
        }

    def log(self, pod: str, container: str) -> Path:
        """Return where a container's output goes."""
        place = self.folder / "logs"
        place.mkdir(parents=True, exist_ok=True)
        return place / f"{pod}.{container}.log"
