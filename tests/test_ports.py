"""A port that a test gave to its server stays the server's."""

import socket
from pathlib import Path

import pytest

from tests import ports
from tests.ports import free_port


def test_no_port_is_one_that_the_kernel_gives_to_connections(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kernels = tmp_path / "ip_local_port_range"
    kernels.write_text("10050\t60999\n")
    monkeypatch.setattr(ports, "_FOR_CONNECTIONS", kernels)
    assert all(10_000 <= free_port() < 10_050 for _ in range(20))


def test_a_port_on_which_somebody_listens_is_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        other = free_port()
        drawn = iter([taken.getsockname()[1] - ports.LOWEST, other - ports.LOWEST])
        monkeypatch.setattr(ports.secrets, "randbelow", lambda _: next(drawn))
        assert free_port() == other
