"""Ports for servers that tests start: none that the kernel may give to somebody's connection before the server has it."""

import secrets
import socket
from pathlib import Path

LOWEST = 10_000
_FOR_CONNECTIONS = Path("/proc/sys/net/ipv4/ip_local_port_range")
_TRIES = 100


def free_port() -> int:
    """Return a port of this machine on which nobody listens; it stays free until a server takes it."""
    for _ in range(_TRIES):
        port = LOWEST + secrets.randbelow(_first_for_connections() - LOWEST)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        return port
    raise OSError(f"no free port among {_TRIES} from {LOWEST} on")


def _first_for_connections() -> int:
    try:
        return int(_FOR_CONNECTIONS.read_text().split()[0])
    except OSError:  # not Linux
        return 32_768
