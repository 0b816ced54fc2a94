"""The images, built once for all of these tests."""

import os
import subprocess

import pytest

from tests.images.engine import ROOT, TAG, Dockerfile, Engine, NoEngine

BUILD_SECONDS = 1800


@pytest.fixture(scope="session")
def engine(request: pytest.FixtureRequest) -> Engine:
    """The engine, with every image built."""
    if not request.config.getoption("--images"):
        pytest.skip("building images takes minutes: `make images-smoke`")
    try:
        found = Engine.find()
        for argument, base in Dockerfile().bases.items():
            found.require(os.environ.get(argument) or base)
    except NoEngine as e:
        pytest.skip(f"no image can be built and run here: {e}")
    subprocess.run(
        ["make", "images", f"ENGINE={found.program}", f"TAG={TAG}"],
        cwd=ROOT,
        check=True,
        timeout=BUILD_SECONDS,
    )
    return found
