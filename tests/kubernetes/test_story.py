"""`kubectl apply -k`, and it works: from a message in Slack through a Job to the answer, the branch and the archive."""

import gzip
import json
import re
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import quote

import aiohttp
import pytest
from yarl import URL

from tests.chaos.fleet import eventually
from tests.e2e.conftest import finals, shown_text
from tests.kubernetes.api import Object, path_of
from tests.kubernetes.cluster import Cluster
from tests.kubernetes.control_plane import ControlPlane, KubectlFailed
from tests.kubernetes.kubelet.environment import decoded
from tests.kubernetes.kubelet.placement import is_over
from tests.kubernetes.recordings import writes
from tests.kubernetes.stage import Stage, name_of, stage
from tests.kubernetes.town import SERVICES, WORKERS

ARCHIVE_SECONDS = 30.0
SEED = re.compile(r"S[AOU][A-Z2-7]{56}")
# What signs a token is all that makes it one.
TOKEN = re.compile(r"eyJ[\w-]{10,}\.[\w-]{10,}\.[\w-]{10,}")
# As the API server counts it itself: nobody was of the opinion that it may be.
FORBIDDEN = re.compile(r'^authorization_attempts_total\{result="(?:denied|no-opinion)"\} (\d+)', re.MULTILINE)


@pytest.fixture(name="stage")
async def deployed(plane: ControlPlane, cluster: Cluster, tmp_path: Path) -> AsyncIterator[Stage]:
    async with stage(plane, cluster, tmp_path) as running:
        yield running


async def archived(stage: Stage, ts: str) -> str:
    """Return what the object store has of a thread."""
    port = await stage.cluster.service_port(SERVICES, "object-store", 4443)
    key = stage.key(ts)
    prefix = f"v1/{key.team}/{key.channel}/{key.thread}/"
    async with aiohttp.ClientSession(f"http://127.0.0.1:{port}", auto_decompress=False) as store:
        async with store.get("/storage/v1/b/threadmill/o", params={"prefix": prefix}) as answer:
            names = [each["name"] for each in (await answer.json()).get("items") or []]
        objects = []
        for name in (each for each in names if each.endswith(".gz")):  # beside each lies what it says of it
            path = f"/storage/v1/b/threadmill/o/{quote(name, safe='')}?alt=media"
            async with store.get(URL(path, encoded=True)) as answer:
                objects.append(gzip.decompress(await answer.read()).decode())
    return "".join(objects)


async def stands_archived(stage: Stage, ts: str, text: str) -> bool:
    return text in await archived(stage, ts)


async def secrets_of(stage: Stage) -> set[str]:
    """Return what the Secrets hold that nobody may read elsewhere."""
    found: set[str] = set()
    for namespace in (SERVICES, WORKERS):
        for secret in (await stage.cluster.api.get(path_of("secrets", namespace)))["items"]:
            values = [value.decode() for value in decoded(secret, "secrets").values()]
            seeds = {seed for value in values for seed in SEED.findall(value)}
            found |= seeds | {value for value in values if "\n" not in value.strip()}
    return found


async def everything_told(stage: Stage, ts: str) -> str:
    """Return all that stands in objects of the cluster but Secrets, in the logs of its Pods, and in a thread."""
    told = [json.dumps(await stage.town.thread(ts)), await archived(stage, ts)]
    for namespace in (SERVICES, WORKERS):
        for kind in ("jobs", "pods", "events", "configmaps"):
            found = await stage.cluster.api.get(path_of(kind, namespace))
            told += [json.dumps(each) for each in found["items"]]
    told += [file.read_text(errors="replace") for file in (stage.cluster.folder / "logs").iterdir()]
    return "\n".join(told)


def component(pod: Object) -> str:
    return str(pod["metadata"]["labels"]["app.kubernetes.io/component"])


async def gone(stage: Stage, pod: Object) -> None:
    name = name_of(pod)
    await stage.cluster.until_all(
        "pods", WORKERS, lambda pods: all(is_over(each) for each in pods if name_of(each) == name)
    )


async def forbidden(stage: Stage) -> int:
    """Return how often somebody asked for what they may not have."""
    metrics = await stage.plane.kubectl("get", "--raw", "/metrics")
    return sum(int(count) for count in FORBIDDEN.findall(metrics))


@pytest.mark.timeout(240)
async def test_a_message_becomes_an_answer_a_branch_and_a_transcript_and_is_resumed_by_another_job(
    stage: Stage,
) -> None:
    stage.plays(writes("turn-{turn}.md"), text="Turn {turn}: {prompt}")
    ts = await stage.town.say("hello")
    thread = await stage.ended(ts)
    assert "Turn 1: hello" in shown_text(finals(thread)[0])
    first = await stage.worker_of(ts)
    assert await eventually(lambda: stands_archived(stage, ts, "Turn 1: hello"), ARCHIVE_SECONDS)

    await gone(stage, first)
    await stage.town.say("and again", ts)
    thread = await stage.ended(ts, turns=2)
    assert "Turn 2: and again" in shown_text(finals(thread)[1])
    second = await stage.worker_of(ts, but=first)
    assert component(second) == "worker"

    one, two = await stage.ends(ts)
    assert (one.outcome, two.outcome, one.branch) == ("completed", "completed", two.branch)
    assert await stage.files(two) == {"turn-1.md", "turn-2.md"}
    assert "Ada Lovelace" in await stage.git("log", "--format=%an", two.branch)

    told = await everything_told(stage, ts)
    assert "Turn 2: and again" in told
    secrets = await secrets_of(stage)
    assert len(secrets) > 8
    assert [each for each in secrets if each in told] == []
    assert TOKEN.findall(told) == []

    accounts = {(component(pod), pod["spec"]["serviceAccountName"]) for pod in stage.cluster.all_pods()}
    expected = {"ingress", "scheduler", "archiver", "worker", "nats", "object-store", "repository"}
    assert accounts == {(name, name) for name in expected}
    assert await forbidden(stage) == 0
    nobody = await stage.plane.service_account_kubeconfig(WORKERS, "worker")
    with pytest.raises(KubectlFailed, match="forbidden"):
        await stage.plane.kubectl("get", "pods", "--namespace", WORKERS, kubeconfig=nobody)
    assert await forbidden(stage) == 1
