"""The connection to NATS: by settings, with TLS and credentials, reconnecting for ever."""

import asyncio
import contextlib
import math
import re
import ssl
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import msgspec
import structlog
from nats.aio.client import Client
from nats.errors import AuthorizationError
from nats.errors import Error as NatsError
from nats.protocol import parser

from schemas.rights import DEFAULT_INBOX
from services.runtime.errors import SettingsError, Unavailable
from services.runtime.proof import Proof
from services.runtime.tasks import unattended

log = structlog.get_logger(__name__)

# nats-py closes for good after 60 tries by default; a broker may be away for longer than that.
RECONNECT_FOR_EVER = -1
RECONNECT_WAIT = 0.25
PENDING_BYTES = 16 * 2**20
CLOSE_SECONDS = 2
# Whoever still waits for an answer by then asks again after the reconnection.
CALM_SECONDS = 1.0
# What a creds file holds. nats-py reads on for ever in one that lacks the first.
CREDS_PARTS = b"BEGIN NATS USER JWT", b"BEGIN USER NKEY SEED"

# To nats-py all white space ends a word, to the broker only blanks do: what it let pass in a subject broke our reading.
_WORD = rb"([^ \r\n]+)"
parser.MSG_RE = re.compile(rb"\AMSG +%b +%b +(%b +)?(\d+)\r\n" % ((_WORD,) * 3))
parser.HMSG_RE = re.compile(rb"\AHMSG +%b +%b +(%b +)?(\d+) +(\d+)\r\n" % ((_WORD,) * 3))


class _Client(Client):
    """Reads on where nats-py stops for ever and says it is connected: after a message that is no text, a late answer.

    `left` says that we close it, or did.
    """

    left = False

    async def _process_headers(self, headers: bytes) -> dict[str, str] | None:
        try:
            return await super()._process_headers(headers)
        except (ValueError, LookupError):
            return None

    def _build_message(
        self, sid: int, subject: bytes, reply: bytes, data: bytes, headers: dict[str, str] | None
    ) -> Any:
        try:
            return super()._build_message(sid, subject, reply, data, headers)
        except UnicodeDecodeError:
            return super()._build_message(sid, _as_text(subject), _as_text(reply), data, headers)

    async def _process_pong(self) -> None:
        if self._pongs and self._pongs[0].done():  # whoever waited has given up
            self._pongs[0] = asyncio.get_running_loop().create_future()
        await super()._process_pong()


def _as_text(word: bytes) -> bytes:
    return word.decode(errors="replace").encode()


# As many as JetStream keeps of a stream.
Replicas = Annotated[int, msgspec.Meta(ge=1, le=5)]


class BusSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Where the broker is and how to prove who we are. Each of the files may be left out."""

    url: str = "nats://127.0.0.1:4222"
    creds: Path | None = None
    nkey_seed: Path | None = None
    ca: Path | None = None
    tls_cert: Path | None = None
    tls_key: Path | None = None
    replicas: Replicas = 1


class _Connecting:
    """What happens to one connection; until it is established, errors that no waiting cures end the attempt."""

    def __init__(self, url: str, on_closed: Callable[[], None], until: float, proof: Proof | None) -> None:
        self.client = _Client()
        self.established = False
        self._address = _address(url)
        self._on_closed = on_closed
        self._until = until
        self._proof = proof
        self._closing: asyncio.Task[None] | None = None

    async def failed(self, error: Exception) -> None:
        word = str(error) or type(error).__name__
        if self.established:
            log.warning("bus error", error=word)
            if (
                self._proof
                and self._proof.over
                and _is_unknown(error)
                and not (self._closing or self.client.left)
            ):
                # nats-py would ask for ever. It calls this from the task that closing ends.
                self._closing = unattended(asyncio.create_task(self._close(), name="close"))
            return
        # nats-py tries for ever, but an error raised in here leaves its `connect`.
        if reason := _refusal(error):
            raise SettingsError(f"the broker at {self._address} {reason}") from error
        if time.monotonic() >= self._until:
            raise Unavailable(
                f"no broker answers at {self._address} ({word}); is it running, and are the settings right?"
            ) from error
        log.warning("no broker yet", url=self._address, error=word)

    async def _close(self) -> None:
        try:
            await close_connection(self.client)
        finally:
            # Where what was not sent yet cannot be, nats-py tells nobody that it has closed.
            self._on_closed()

    async def closed(self) -> None:
        if self.established and not self.client.left:
            self._on_closed()

    async def lost(self) -> None:
        if self.established and not self.client.is_closed:  # else it is we who leave
            log.warning("bus disconnected")

    async def back(self) -> None:
        log.info("bus reconnected")


def _address(url: str) -> str:
    """Return `url` without the user and the password in it."""
    return re.sub(r"\A(\w+://)?.*@", r"\1", url)


def _refusal(error: Exception) -> str | None:
    if isinstance(error, ssl.SSLCertVerificationError):
        return (
            f"shows a certificate that is not trusted ({error.verify_message}): nats.ca names its authority"
        )
    if isinstance(error, ssl.SSLError):
        return (
            f"refuses the TLS connection ({error.reason}): nats.ca, nats.tls_cert and nats.tls_key say how to"
        )
    if _is_unknown(error):
        return "refuses who we say we are: nats.creds or nats.nkey_seed must hold a user that it knows"
    return None


def _is_unknown(error: Exception) -> bool:
    return isinstance(error, AuthorizationError) or "Authorization Violation" in str(error)


async def open_connection(
    settings: BusSettings,
    name: str,
    on_closed: Callable[[], None],
    *,
    patience: float = math.inf,
    inbox: str = DEFAULT_INBOX,
    proof: Proof | None = None,
) -> Client:
    """Return a connected client; waits `patience` seconds for a broker that is away, then raises `Unavailable`.

    Answers come to subjects under `inbox`; `proof` says who we are in place of the settings' files. `on_closed` hears when
    the connection is lost for good, as it is when the broker refuses us after the time of `proof`; not of `close_connection`.

    Raises `SettingsError` where no waiting helps: files that cannot be used, a certificate that is not trusted, a user that
    the broker does not know.
    """
    tls = _tls(settings)
    if proof is None:
        _check_credentials(settings)
    connecting = _Connecting(settings.url, on_closed, time.monotonic() + patience, proof)
    client = connecting.client
    try:
        await client.connect(
            settings.url,
            name=name,
            tls=tls,
            **(_of_proof(proof) if proof else _of_files(settings)),
            max_reconnect_attempts=RECONNECT_FOR_EVER,
            reconnect_time_wait=RECONNECT_WAIT,  # type: ignore[arg-type]  # only slept; fractions are fine
            pending_size=PENDING_BYTES,
            inbox_prefix=inbox,
            allow_reconnect=True,
            connect_timeout=2,
            closed_cb=connecting.closed,
            error_cb=connecting.failed,
            disconnected_cb=connecting.lost,
            reconnected_cb=connecting.back,
        )
    except BaseException:
        await close_connection(client)
        raise
    connecting.established = True
    return client


def _of_files(settings: BusSettings) -> dict[str, Any]:
    return {
        "user_credentials": str(settings.creds) if settings.creds else None,
        "nkeys_seed": str(settings.nkey_seed) if settings.nkey_seed else None,
    }


def _of_proof(proof: Proof) -> dict[str, Any]:
    return {"user_jwt_cb": proof.shown, "signature_cb": proof.signature}


async def reconnect(client: Client) -> None:
    """Connect `client` anew, to be known by what it proves now; waits for a moment in which it waits for no answer."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(CALM_SECONDS):
            while client.pending_data_size or client._resp_map:  # noqa: ASYNC110, SLF001 (nats-py has no event for it)
                await asyncio.sleep(0.002)
    await client.force_reconnect()


def _tls(settings: BusSettings) -> ssl.SSLContext | None:
    if not (settings.ca or settings.tls_cert):
        return None
    try:
        context = ssl.create_default_context(cafile=str(settings.ca) if settings.ca else None)
        if settings.tls_cert:
            context.load_cert_chain(settings.tls_cert, settings.tls_key)
    except OSError as e:  # what TLS itself complains of is one too
        raise SettingsError(f"nats.ca, nats.tls_cert and nats.tls_key cannot be used: {e}") from e
    return context


def _check_credentials(settings: BusSettings) -> None:
    if settings.creds:
        held = _contents("nats.creds", settings.creds)
        if not all(part in held for part in CREDS_PARTS):
            raise SettingsError(
                f"nats.creds: {settings.creds} is no creds file: it lacks the JWT or the seed"
            )
    if settings.nkey_seed and not _contents("nats.nkey_seed", settings.nkey_seed).startswith(b"SU"):
        raise SettingsError(f"nats.nkey_seed: {settings.nkey_seed} holds no user's seed (SU...)")


def _contents(setting: str, path: Path) -> bytes:
    try:
        return path.read_bytes().strip()
    except OSError as e:
        raise SettingsError(f"{setting}: {path} cannot be read ({e.strerror})") from e


async def close_connection(client: Client) -> None:
    """Send what is buffered and close; a broker that is away is no error any more."""
    if isinstance(client, _Client):
        client.left = True
    with contextlib.suppress(OSError, NatsError, TimeoutError):
        if client.is_connected:
            await client.flush(timeout=CLOSE_SECONDS)
    # After a TLS handshake that failed, Python waits for ever for the end of what never began.
    # Of what is still to be written to a connection that broke, uvloop complains with a RuntimeError.
    try:
        async with asyncio.timeout(CLOSE_SECONDS):
            await client.close()
    except TimeoutError:
        await _cut(client)
    except (OSError, NatsError, RuntimeError):
        pass


async def _cut(client: Client) -> None:
    """End a connection whose last words nobody reads: nats-py leaves it open until they are read."""
    writer = getattr(client._transport, "_io_writer", None)  # noqa: SLF001 (nats-py has no other way)
    if writer is not None:
        writer.transport.abort()
        await asyncio.sleep(0)  # the loop closes the socket in its next round
