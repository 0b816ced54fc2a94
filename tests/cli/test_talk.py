"""Talking to a running Threadmill from a terminal, and looking into it."""

import http.server
import json
import re
import shutil
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.cli.conftest import Cli, RunningDev

pytestmark = pytest.mark.xdist_group("cli-talk")


def send(dev: RunningDev, text: str, *more: object) -> dict[str, object]:
    end: dict[str, object] = json.loads(dev.cli.ok("send", text, "--json", *more))
    return end


def test_send_waits_for_the_answer_and_goes_on_in_its_thread(dev: RunningDev) -> None:
    done = dev.cli.run("send", "write a note")
    assert (done.returncode, "write a note" in done.stdout) == (0, True)
    key = re.search(r"session (\S+)", done.stderr)
    assert key
    end = send(dev, "and another", "--session", key[1])
    assert (end["session"], end["outcome"], "Turn 2" in str(end["text"])) == (key[1], "completed", True)


def test_what_slack_refuses_is_told(dev: RunningDev) -> None:
    done = dev.cli.run("send", "hello", "--user", "U9")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("threadmill: the message was not taken: ")


def test_sessions_are_listed_whole_the_latest_first(dev: RunningDev) -> None:
    older, newer = (str(send(dev, text, "--user", "U2")["session"]) for text in ("older", "newer"))
    keys = dev.cli.ok("sessions", "--keys").split()
    assert keys.index(newer) < keys.index(older)
    table = dev.cli.ok("sessions", "--user", "U2").splitlines()
    assert [line.split()[0] for line in table] == ["session", newer, older]
    lines = [json.loads(line) for line in dev.cli.ok("sessions", "--json", "--user", "U2").splitlines()]
    assert [line["session"] for line in lines] == [newer, older]
    assert dev.cli.ok("sessions", "--user", "U8").startswith("no sessions that U8 began")


def test_a_narrow_terminal_shows_whole_keys(dev: RunningDev) -> None:
    key = str(send(dev, "narrow", "--channel", "C2")["session"])
    shown = subprocess.run(
        ["script", "-qec", "stty cols 60; threadmill sessions", "/dev/null"],
        env={**dev.cli.environ, "TERM": "xterm", "NO_COLOR": "1"},
        capture_output=True,
        check=True,
    ).stdout.decode()
    assert key in shown


def test_a_transcript_for_people_for_documents_and_for_programs(dev: RunningDev) -> None:
    key = str(send(dev, "[bold]tell[/bold] me")["session"])
    text = dev.cli.ok("transcript", key)
    assert re.search(r"\d\d:\d\d:\d\d \w[\w ]* \[bold\]tell\[/bold\] me\n", text)
    assert re.search(r"completed \d+\.\d s\n$", text)
    document = dev.cli.ok("transcript", key, "--format", "md")
    assert re.match(r"## \w[\w ]*, .+\n\n> \[bold\]tell", document)
    assert re.search(r"\n\*completed after .+\*\n$", document.rstrip("\n") + "\n")
    records = [json.loads(line) for line in dev.cli.ok("transcript", key, "--format", "jsonl").splitlines()]
    assert [record["seq"] for record in records] == sorted(record["seq"] for record in records)
    assert {"said", "claimed", "turn-end"} <= {record["payload"]["kind"] for record in records}
    assert "nothing is known of T1.C1.1-1" in dev.cli.run("transcript", "T1.C1.1-1").stderr


def test_tail_shows_a_session_from_its_beginning_and_then_what_comes(dev: RunningDev) -> None:
    key = str(send(dev, "first words")["session"])
    tail = dev.cli.start("tail", key)
    try:
        assert "first words" in tail.line()
        send(dev, "second words", "--session", key)
        lines = [tail.line()]
        while "second words" not in lines[-1]:
            lines.append(tail.line())
        assert any("completed" in line for line in lines)
    finally:
        code, _ = tail.stop()
    assert (code, tail_errors(dev)) == (0, "watching; Ctrl-C ends it\n")


def tail_errors(dev: RunningDev) -> str:
    return (dev.cli.home / "tail.stderr").read_text()


def test_tail_without_a_session_shows_all_that_happens_from_now_on(dev: RunningDev) -> None:
    old = str(send(dev, "long ago")["session"])
    tail = dev.cli.start("tail")
    try:
        while "watching" not in tail_errors(dev):
            assert tail.process.poll() is None
        new = str(send(dev, "just now")["session"])
        line = tail.line()
        assert line.startswith(new)
        assert "just now" in line
    finally:
        _, rest = tail.stop()
    assert old not in rest


def nats(dev: RunningDev, *arguments: str) -> str:
    """Run the nats CLI against the running Threadmill."""
    if not shutil.which("nats"):
        pytest.skip("the nats CLI is not installed")
    environ = {
        **dev.cli.environ,
        "NATS_URL": dev.cli.ok("nats-url").strip(),
        "NATS_CREDS": dev.cli.ok("nats-creds").strip(),
    }
    return subprocess.check_output(["nats", *arguments], env=environ, timeout=90).decode()


def test_the_nats_cli_finds_the_broker_and_decode_translates(dev: RunningDev) -> None:
    assert dev.cli.ok("nats-url").strip() == dev.address["nats"]
    key = str(send(dev, "translate me")["session"])
    arguments = ("sub", "--stream", "SESSIONS", "--all", "--terminate-at-end", f"session.{key}.in.*")
    shown = nats(dev, *arguments, "--translate", "threadmill decode")
    assert '\n  "text": "translate me",\n' in shown


def test_poison_becomes_a_dead_letter_that_can_be_looked_at_and_sent_again(dev: RunningDev) -> None:
    subject = "session.T1.C1.1-1.in.x"
    assert dev.cli.ok("dead", "list") == "no dead letters\n"
    nats(dev, "pub", "--jetstream", subject, "poison [not] JSON")
    number = awaited_letter(dev, subject)
    letter = json.loads(dev.cli.ok("dead", "show", number))
    assert (letter["origin"], letter["payload"]) == (subject, "poison [not] JSON")
    assert letter["reason"]
    assert dev.cli.ok("dead", "replay", number).startswith("sent again as message ")
    assert f"there is no letter {number}" in dev.cli.run("dead", "show", number).stderr
    assert awaited_letter(dev, subject) != number
    assert "poison" in nats(dev, "stream", "get", "SESSIONS", "--last-for", subject)
    assert "payload_base64" in dev.cli.ok("transcript", "T1.C1.1-1", "--format", "jsonl")


def awaited_letter(dev: RunningDev, subject: str) -> str:
    """Return the number of the dead letter from `subject` as soon as there is one."""
    for _ in range(60):
        for line in dev.cli.ok("dead", "list").splitlines()[1:]:
            if subject in line:
                return line.split()[0]
    pytest.fail(f"no dead letter from {subject} came")


def test_doctor_shows_what_runs(dev: RunningDev) -> None:
    told = dev.cli.ok("doctor")
    assert f"runs at {dev.url}/ with the agent recorded, its broker at {dev.address['nats']}" in told


def test_a_stranger_on_the_port_is_told_apart_and_gets_nothing(dev: RunningDev, tmp_path: Path) -> None:
    with stranger() as (port, heard):
        (tmp_path / "token").write_text("f" * 64)
        address = dev.address | {"url": f"http://127.0.0.1:{port}"}
        (tmp_path / "address.json").write_text(json.dumps(address))
        done = Cli(tmp_path, THREADMILL_DATA=str(tmp_path)).run("send", "my secret")
    assert (done.returncode, done.stdout) == (1, "")
    assert "is not the threadmill dev of" in done.stderr
    assert [method for method, _ in heard] == ["GET"]
    assert "secret" not in str(heard)


@contextmanager
def stranger() -> Iterator[tuple[int, list[tuple[str, str]]]]:
    """A server that answers everything with 200, and what it heard."""
    heard: list[tuple[str, str]] = []

    class Anything(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            heard.append((self.command, self.path))
            self.send_response(200)
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"ok")

        do_POST = do_GET  # noqa: N815 (the library's name)

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Anything) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server.server_address[1], heard
        finally:
            server.shutdown()
            thread.join()


def test_instructions_are_set_shown_and_taken_away(dev: RunningDev) -> None:
    assert dev.cli.ok("instructions", "T1.C2").strip() == "no instructions"
    dev.cli.ok("instructions", "T1.C2", "Answer in German.")
    assert dev.cli.ok("instructions", "T1.C2").strip() == "Answer in German."
    dev.cli.ok("instructions", "T1.C2", "--clear")
    assert dev.cli.ok("instructions", "T1.C2").strip() == "no instructions"


def test_instructions_of_nobody_or_without_end_are_refused(dev: RunningDev) -> None:
    for whose, text, told in (("C2", "x", "such as T1.C1"), ("T1.C2", "x" * 8_001, "8,000 characters")):
        done = dev.cli.run("instructions", whose, text)
        assert (done.returncode != 0, told in " ".join(done.stderr.split())) == (True, True), done.stderr
