"""Where the steps of the workflows are tried."""

from pathlib import Path

import pytest

from tests.workflows.bench import Bench


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)
