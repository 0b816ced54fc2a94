"""A real control plane, and a cluster on it: one for each story that needs its own, one for a module of small tests.

A new one starts in the time that a used one takes to remove a namespace, and nobody has left anything in it.
"""

import os
from collections.abc import AsyncIterator
from itertools import count
from pathlib import Path

import psutil
import pytest
import pytest_asyncio

from tests.kubernetes import assets
from tests.kubernetes.cluster import Cluster, cluster
from tests.kubernetes.control_plane import ControlPlane, control_plane
from tests.kubernetes.namespace import Namespace

NUMBERS = count(1)


def require_assets() -> None:
    """Skip, and say why, where there is no control plane to run; in CI there has to be one."""
    try:
        assets.folder()
    except assets.NoAssets as e:
        if "CI" in os.environ:
            raise
        pytest.skip(str(e))


def left_over() -> list[str]:
    """Return what still runs of Pods' containers and of control planes."""
    commands = (" ".join(each.cmdline()) for each in psutil.Process().children(recursive=True))
    marks = ("kubelet/supervisor.py", *assets.PROGRAMS)
    return [command for command in commands if any(mark in command for mark in marks)]


@pytest.fixture
async def plane(tmp_path: Path) -> AsyncIterator[ControlPlane]:
    require_assets()
    async with control_plane(tmp_path / "plane") as running:
        yield running


@pytest.fixture(name="cluster")
async def own_cluster(plane: ControlPlane, tmp_path: Path) -> AsyncIterator[Cluster]:
    async with cluster(plane, tmp_path / "cluster") as running:
        yield running


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared_cluster(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Cluster]:
    """One with `node-1`, for a module whose tests keep to their own `namespace`."""
    require_assets()
    folder = tmp_path_factory.mktemp("shared")
    async with control_plane(folder / "plane") as plane, cluster(plane, folder / "cluster") as running:
        yield running
    assert left_over() == []


@pytest_asyncio.fixture(loop_scope="module")
async def namespace(shared_cluster: Cluster) -> Namespace:
    return await Namespace.make(shared_cluster, f"test-{next(NUMBERS)}")
