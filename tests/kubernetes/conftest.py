"""A real control plane for every test that asks for one, and a cluster on it."""

import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.kubernetes import assets
from tests.kubernetes.cluster import Cluster, cluster
from tests.kubernetes.control_plane import ControlPlane, control_plane


def require_assets() -> None:
    """Skip, and say why, where there is no control plane to run; in CI there has to be one."""
    try:
        assets.folder()
    except assets.NoAssets as e:
        if "CI" in os.environ:
            raise
        pytest.skip(str(e))


@pytest.fixture
async def plane(tmp_path: Path) -> AsyncIterator[ControlPlane]:
    require_assets()
    async with control_plane(tmp_path / "plane") as running:
        yield running


@pytest.fixture(name="cluster")
async def running_cluster(plane: ControlPlane, tmp_path: Path) -> AsyncIterator[Cluster]:
    async with cluster(plane, tmp_path / "cluster") as running:
        yield running
