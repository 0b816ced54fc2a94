"""The services on a broker that trusts nobody: what they may not do is refused, whoever has their credential."""

from pathlib import Path

import pytest

from schemas.keys import SessionKey
from schemas.rights import CLIENTS, inbox
from schemas.worker_rights import DOOR, SHARED, session_rights
from services.local.broker import running_broker
from services.local.errors import LocalError
from services.local.keys import Keys, adopted, local_keys, made
from services.runtime.bus import Bus
from services.runtime.connection import BusSettings, close_connection, open_connection
from services.runtime.errors import SettingsError
from services.runtime.topology import apply_map
from tests.rights.conftest import PATIENCE, Guarded, Refusals, state

KEY = "T1.C1.1-1"
STREAMS = "SESSIONS", "WORK", "DEADLETTER", "AUDIT", "FILES", "KV_leases", "KV_turns", "KV_sessions"

FORBIDDEN = {
    "ingress": (
        f"session.{KEY}.out",
        f"session.{KEY}.end.1",
        f"session.{KEY}.state",
        "work.default",
        f"$KV.leases.{KEY}",
        f"$KV.turns.{KEY}",
        f"live.{KEY}",
        "dead.scheduler.x",
        "scheduler.admit",
        "archiver.delete",
        "$JS.API.STREAM.PURGE.SESSIONS",
        "$JS.API.STREAM.UPDATE.SESSIONS",
        "$JS.API.STREAM.DELETE.SESSIONS",
        "$JS.API.CONSUMER.CREATE.SESSIONS.scheduler",
        "$JS.API.CONSUMER.DELETE.SESSIONS.scheduler",
        "$JS.API.CONSUMER.MSG.NEXT.SESSIONS.archiver",
        "$JS.API.CONSUMER.MSG.NEXT.WORK.pool-default",
        "$JS.ACK.SESSIONS.scheduler.1.1.1.1.1",
        "_INBOX_scheduler.x",
    ),
    "scheduler": (
        f"session.{KEY}.in.x",
        f"session.{KEY}.control",
        f"session.{KEY}.state",
        f"files.{KEY}.f1.0",
        "$KV.preferences.T1.U1",
        "$KV.cursors.p1",
        "archiver.delete",
        "$JS.API.STREAM.PURGE.SESSIONS",
        "$JS.API.STREAM.DELETE.WORK",
        "$JS.API.STREAM.CREATE.MINE",
        "$JS.API.CONSUMER.DELETE.SESSIONS.archiver",
        "$JS.API.CONSUMER.MSG.NEXT.SESSIONS.archiver",
        "$JS.API.CONSUMER.MSG.NEXT.WORK.pool-default",
    ),
    "archiver": (
        f"session.{KEY}.in.x",
        f"session.{KEY}.out",
        f"session.{KEY}.state",
        f"files.{KEY}.f1.0",
        "work.default",
        f"$KV.leases.{KEY}",
        f"$KV.turns.{KEY}",
        "$JS.API.STREAM.DELETE.SESSIONS",
        "$JS.API.STREAM.UPDATE.SESSIONS",
        "$JS.API.STREAM.PURGE.AUDIT",
        "$JS.API.STREAM.MSG.GET.FILES",
        "$JS.API.CONSUMER.MSG.NEXT.SESSIONS.scheduler",
    ),
    "operator": (
        f"$KV.leases.{KEY}",
        f"$KV.turns.{KEY}",
        f"files.{KEY}.f1.0",
        "$JS.API.STREAM.DELETE.SESSIONS",
        "$JS.API.STREAM.UPDATE.SESSIONS",
        "$JS.API.STREAM.RESTORE.SESSIONS",
        "$JS.API.STREAM.PURGE.AUDIT",
        "$JS.API.STREAM.MSG.DELETE.AUDIT",
        "$JS.API.STREAM.MSG.DELETE.SESSIONS",
        "$JS.API.CONSUMER.DELETE.SESSIONS.archiver",
        "$JS.API.CONSUMER.CREATE.SESSIONS.scheduler.session.>",
        "scheduler.admit",
    ),
    "admin": (
        f"session.{KEY}.in.x",
        "work.default",
        f"$KV.leases.{KEY}",
        "$JS.API.STREAM.CREATE.MINE",
        "$JS.API.STREAM.PURGE.AUDIT",
        "$JS.API.STREAM.SNAPSHOT.SESSIONS",
        "$JS.API.CONSUMER.CREATE.SESSIONS.x",
        "scheduler.admit",
    ),
}
UNHEARD = {
    "admin": (">", "session.>", "live.>", "_INBOX_scheduler.>", "$JS.API.>", "$SYS.>"),
    "ingress": (">", "session.>", "_INBOX.>", "_INBOX_scheduler.>", "scheduler.admit", "$JS.API.>", "$SYS.>"),
    "scheduler": (">", "session.>", "_INBOX.>", "_INBOX_ingress.>", "archiver.read", "live.>", "$JS.>"),
    "archiver": (">", "session.>", "_INBOX.>", "_INBOX_scheduler.>", "scheduler.admit", "live.>"),
    "operator": (">", "_INBOX_scheduler.>", "scheduler.>", "archiver.>", "files.>", "$KV.>", "$SYS.>"),
}


@pytest.mark.parametrize("name", FORBIDDEN)
async def test_a_service_is_refused_what_it_does_not_do(guarded: Guarded, name: str) -> None:
    before = await state(guarded, *STREAMS)
    async with guarded.client(name) as client:
        refusals = Refusals(client)
        taken = [subject for subject in FORBIDDEN[name] if not await refusals.publish(subject)]
        heard = [subject for subject in UNHEARD[name] if not await refusals.subscribe(subject)]
    assert (taken, heard) == ([], [])
    assert await state(guarded, *STREAMS) == before


async def test_nobody_comes_in_without_a_credential(guarded: Guarded) -> None:
    with pytest.raises(SettingsError, match="refuses who we say we are"):
        await open_connection(BusSettings(url=guarded.broker.url), "test", lambda: None)


async def test_a_credential_of_other_keys_is_none(guarded: Guarded, tmp_path: Path) -> None:
    foreign = made(tmp_path / "foreign")
    settings = BusSettings(url=guarded.broker.url, creds=foreign.of("scheduler"))
    with pytest.raises(SettingsError, match="refuses who we say we are"):
        await open_connection(settings, "test", lambda: None)


async def test_a_folder_from_before_there_were_keys_keeps_what_it_has(tmp_path: Path) -> None:
    async with running_broker(tmp_path / "broker") as broker:
        client = await open_connection(BusSettings(url=broker.url), "test", lambda: None)
        bus = Bus(client)
        await apply_map(bus)
        await bus.publish_raw(f"session.{KEY}.control", b"{}", {})
        await close_connection(client)
    keys = local_keys(tmp_path / "keys")
    adopted(keys, tmp_path / "broker" / "jetstream")
    async with running_broker(tmp_path / "broker", keys.broker.read_text()) as broker:
        assert await state(Guarded(broker, keys), "SESSIONS") == {"SESSIONS": 1}


def test_the_keys_are_their_owners_alone_and_stay_those_of_one_account(tmp_path: Path) -> None:
    keys = made(tmp_path / "keys")
    before = {path.name: path.read_text() for path in keys.folder.iterdir()}
    assert set(before) == {
        "broker.conf",
        "services.key",
        "workers.key",
        "door.key",
        *(f"{each.name}.creds" for each in (*CLIENTS, DOOR)),
    }
    assert all(path.stat().st_mode & 0o077 == 0 for path in (keys.folder, *keys.folder.iterdir()))
    after = {path.name: path.read_text() for path in made(tmp_path / "keys").folder.iterdir()}
    changed = {name for name, text in before.items() if after[name] != text}
    assert changed == {"broker.conf", *(f"{each.name}.creds" for each in (*CLIENTS, DOOR))}


async def test_a_folder_of_an_older_version_lends_what_this_one_does_to_whom_it_knew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.local.keys.SHARED", SHARED[:1])
    keys = made(tmp_path / "keys")
    async with running_broker(tmp_path / "broker", keys.broker.read_text()) as broker:
        guarded = Guarded(broker, keys)
        guarded.hire(session_rights(SessionKey.parse(KEY), "w-1"))
        async with guarded.client("scheduler") as client:
            await apply_map(Bus(client))
    monkeypatch.undo()
    keys.of("old").write_text(keys.of("scheduler").read_text())
    before = accounts(keys)
    made(tmp_path / "keys")
    assert accounts(keys) == before
    async with running_broker(tmp_path / "broker", keys.broker.read_text()) as broker:
        guarded = Guarded(broker, keys)
        async with guarded.client("w-1") as worker:
            answer = await worker.request(f"$KV.leases.{KEY}", b"{}", timeout=PATIENCE)
        assert b'"seq"' in answer.data
        settings = BusSettings(url=broker.url, creds=keys.of("old"))
        client = await open_connection(settings, "old", lambda: None, inbox=inbox("scheduler"))
        assert (await Bus(client).api("STREAM.INFO.KV_leases", None))["state"]["messages"] == 1
        await close_connection(client)


async def test_a_folder_from_before_there_was_a_door_gets_one(tmp_path: Path) -> None:
    keys = made(tmp_path / "keys")
    keys.door.unlink()
    before = {path: path.read_text() for path in (keys.services, keys.workers)}
    made(tmp_path / "keys")
    assert {path: path.read_text() for path in before} == before
    async with running_broker(tmp_path / "broker", keys.broker.read_text()) as broker:
        guarded = Guarded(broker, keys)
        for name in ("scheduler", DOOR.name):
            async with guarded.client(name):
                pass


def accounts(keys: Keys) -> list[str]:
    """Return the public key of every account that the broker is told of."""
    lines = keys.broker.read_text().splitlines()
    return [line.partition(":")[0] for line in lines if line.startswith("  A")]


def test_a_folder_that_is_not_ours_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "keys").write_text("")
    with pytest.raises(LocalError, match="cannot be written"):
        made(tmp_path / "keys")
