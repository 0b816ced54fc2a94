"""What a worker refuses at its start."""

import pytest

from services.runtime.errors import SettingsError
from services.runtime.settings import load
from services.worker.settings import WorkerSettings

NEEDED = {"THREADMILL_WORKER": "w-1", "THREADMILL_DATA": "data"}


@pytest.mark.parametrize(
    "name", ["IDLE_SECONDS", "LIFE_SECONDS", "SETUP_SECONDS", "WORKSPACE_SECONDS", "RECORDING_SPEED"]
)
def test_a_time_that_is_none_is_refused(name: str) -> None:
    assert load(WorkerSettings, NEEDED | {f"THREADMILL_{name}": "0"})
    for value in ("nan", "-5"):
        with pytest.raises(SettingsError, match=f"THREADMILL_{name}: Expected `float` >= 0"):
            load(WorkerSettings, NEEDED | {f"THREADMILL_{name}": value})
