"""`kubectl apply -k`, and it works: from a message in Slack through a Job to the answer, the branch and the archive."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.e2e.conftest import finals, shown_text, turns_done
from tests.kubernetes.cluster import Cluster
from tests.kubernetes.control_plane import ControlPlane
from tests.kubernetes.town import Town, town


@pytest.fixture(name="town")
async def deployed(plane: ControlPlane, cluster: Cluster, tmp_path: Path) -> AsyncIterator[Town]:
    async with town(plane, cluster, tmp_path) as running:
        yield running


@pytest.mark.timeout(240)
async def test_a_message_becomes_an_answer_through_a_job(town: Town) -> None:
    ts = await town.say("hello")
    thread = await town.until(ts, turns_done(1))
    (final,) = finals(thread)
    assert "hello" in shown_text(final)
