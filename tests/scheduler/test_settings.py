"""What a scheduler process refuses at its start, in one sentence, rather than at each decision or in each worker."""

import os

import pytest

from services.runtime.errors import SettingsError
from services.scheduler.__main__ import settings


@pytest.fixture
def environ(tmp_path, monkeypatch) -> pytest.MonkeyPatch:
    for name in [name for name in os.environ if name.startswith("THREADMILL_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("THREADMILL_DATA", str(tmp_path))
    return monkeypatch


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("NATS_CREDS", "scheduler.creds"),
        ("NATS_NKEY_SEED", "scheduler.seed"),
        ("NATS_TLS_CERT", "scheduler.pem"),
        ("NATS_URL", "nats://scheduler:password@broker:4222"),
        ("NATS_URL", "nats://token@broker:4222"),
    ],
)
def test_a_scheduler_that_says_who_it_is_signs_its_workers_credentials(environ, name, value) -> None:
    assert settings().signing_key is None
    environ.setenv(f"THREADMILL_{name}", value)
    with pytest.raises(SettingsError, match=r"THREADMILL_SIGNING_KEY is missing: .*`threadmill credentials`"):
        settings()
    environ.setenv("THREADMILL_SIGNING_KEY", "workers.key")
    assert settings().signing_key


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("STOP_GRACE", "nan inf -5 1e15"),
        ("DEADLINE_GRACE", "nan inf -5 1e15"),
        ("DRAIN_GRACE", "nan inf -5 1e15"),
        ("TURN_SECONDS", "0 100000000000000"),
        ("WINDOW_SECONDS", "nan inf 0"),
        ("LAUNCH_TIMEOUT", "nan inf 0"),
        ("MAX_BUDGET_USD", "nan 0 -1"),
    ],
)
def test_a_number_with_which_nothing_could_be_decided_is_refused(environ, name, values) -> None:
    for value in values.split():
        environ.setenv(f"THREADMILL_SCHEDULER_{name}", value)
        with pytest.raises(
            SettingsError, match=f"^these settings cannot be used: THREADMILL_SCHEDULER_{name}"
        ):
            settings()
