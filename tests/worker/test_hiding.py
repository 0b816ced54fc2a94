"""What came with a session is in no line of its worker's log, as little as what stands in its environment."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog

from schemas.base import now
from schemas.credentials import Secrets
from schemas.people import Person
from schemas.work import Assignment
from services.worker.access import Access
from services.worker.opening import Opening
from services.worker.settings import WorkerSettings
from services.worker.working import ahead, hide

# Of no shape that anybody knows.
PASSWORD, KEY = "correct horse battery", "staple-of-the-proxy"


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    yield
    structlog.reset_defaults()


def test_a_secret_that_came_by_the_bus_is_not_logged(capsys: pytest.CaptureFixture[str]) -> None:
    secrets = Secrets(environ={"ANTHROPIC_API_KEY": KEY}, git_password=PASSWORD)
    settings = WorkerSettings(worker="w-1", data=Path("/nowhere"), repo="https://git.test/team.git")
    hide(Access.of({}, secrets).secrets(settings.repo), settings)
    error = RuntimeError(f"git said {PASSWORD}")
    structlog.get_logger().error("the turn could not be prepared", said=f"key {KEY}", exc_info=error)
    written = capsys.readouterr().err
    assert "the turn could not be prepared" in written
    assert PASSWORD not in written
    assert KEY not in written


def test_it_is_hidden_before_anything_is_begun_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[str] = []
    monkeypatch.setattr("services.worker.working.hide", lambda secrets, _: done.extend(secrets))
    monkeypatch.setattr(Opening, "ahead", lambda _: done.append("begun"))
    secrets = Secrets(git_password=PASSWORD)
    settings = WorkerSettings(worker="w-1", data=Path("/nowhere"), repo="https://git.test/team.git")
    work = Assignment(
        session="T1.C1.1-1", turn=1, attempt=1, pool="default", user=Person(id="U1"), expires_at=now()
    )
    assert ahead(settings, work, secrets)
    assert done == [PASSWORD, "begun"]
