"""From the places that a Pod knows to those on this machine."""

from pathlib import Path

import pytest

from tests.kubernetes.kubelet.environment import expanded
from tests.kubernetes.kubelet.images import Layout, nats, repository_of
from tests.kubernetes.kubelet.placement import amount, tolerates
from tests.kubernetes.kubelet.rewriting import Address, connected, located, mentioned, with_ports

MOUNTS, ROOT = ["/data", "/tmp"], Path("/here")
NATS, WEB = Address("threadmill", "nats", 4222), Address("other", "web", 80)


@pytest.mark.parametrize(
    ("value", "here"),
    [
        ("/data", "/here/data"),
        ("/data/a b", "/here/data/a b"),
        ("/database", "/database"),
        ("--folder=/tmp/x", "--folder=/here/tmp/x"),
        ("KEY=/tmp/x", "KEY=/tmp/x"),
        ("text with /data in it", "text with /data in it"),
    ],
)
def test_paths(value: str, here: str) -> None:
    assert located(value, MOUNTS, ROOT) == here


@pytest.mark.parametrize(
    ("value", "here"),
    [
        ("nats:4222", "127.0.0.1:1"),
        ("nats://nats.threadmill.svc:4222", "nats://127.0.0.1:1"),
        ("nats://user:4222@nats.threadmill.svc.cluster.local:4222/x", "nats://user:4222@127.0.0.1:1/x"),
        ("nats.other:4222", "nats.other:4222"),
        ("http://web.other/path?nats=nats:4222", "http://127.0.0.1:2/path?nats=127.0.0.1:1"),
        ("https://web.other/", "https://web.other/"),
        ("nats", "nats"),
    ],
)
def test_addresses(value: str, here: str) -> None:
    assert connected(value, "threadmill", {NATS: 1, WEB: 2}) == here


def test_a_stateful_sets_pod_is_a_service_of_its_own() -> None:
    assert mentioned("nats-0.nats.threadmill.svc:4222", "other") == {
        Address("threadmill", "nats", 4222, "nats-0")
    }


def test_ports_in_arguments() -> None:
    command = ["threadmill", "sim", "--port", "8701", "--port=8701", "8701"]
    assert with_ports(command, {8701: 5}) == ["threadmill", "sim", "--port", "5", "--port=5", "8701"]


def test_a_brokers_configuration_is_written_anew_for_its_paths(tmp_path: Path) -> None:
    config = tmp_path / "nats.conf"
    config.write_text('store_dir: "/data/x"\npid_file: /data/pid\nsub: "a/data/b"\ninclude "/data"\n')

    command = nats(["nats-server", "-c", str(config)], Layout(ROOT, ("/data",), {4222: 1, 8222: 2}))

    assert Path(command[2]).read_text() == (
        'store_dir: "/here/data/x"\npid_file: /here/data/pid\nsub: "a/data/b"\ninclude "/here/data"\n'
    )
    assert command[3:] == ["--addr", "127.0.0.1", "--port", "1", "--http_port", "2"]


def test_references_are_filled_as_kubernetes_does() -> None:
    assert expanded("$(A) $(B) $$(A) $A $$$(A)", {"A": "1"}) == "1 $(B) $(A) $A $1"


def test_names_amounts_and_tolerations() -> None:
    assert repository_of("registry:5000/threadmill/worker:1@sha256:ab") == "registry:5000/threadmill/worker"
    assert [amount(each) * 2 for each in ("500m", "2Gi", "3")] == [1, 2**32, 6]
    spot = {"key": "spot", "value": "true", "effect": "NoSchedule"}
    assert tolerates({"key": "spot", "operator": "Equal", "value": "true"}, spot)
    assert not tolerates({"key": "spot", "value": "false"}, spot)
    assert tolerates({"operator": "Exists"}, spot)
