"""What comes in: deliveries of the log, and holders' requests for admission."""

import asyncio

import structlog
from nats.aio.msg import Msg

from schemas.base import MalformedMessage
from schemas.ends import TurnEnd
from schemas.keys import InvalidKey
from schemas.work import Admission, Admit, NotNow
from services.runtime.asking import reply
from services.runtime.bus import Bus
from services.runtime.errors import Reject, Unavailable
from services.runtime.metrics import REFUSED
from services.runtime.pull import Delivery
from services.scheduler.admission import Desk
from services.scheduler.conductor import Conductor
from services.scheduler.metrics import TURNS
from services.scheduler.subjects import Heard, decode, key_of

log = structlog.get_logger(__name__)

# Replicas share the requests.
QUEUE_GROUP = "scheduler"
AT_ONCE = 64


def lane_of(delivery: Delivery) -> str:
    """Return the session, whose messages are handled one after the other."""
    return ".".join(delivery.subject.split(".")[1:4])


class LogHandler:
    """Takes deliveries of the log."""

    def __init__(self, conductor: Conductor) -> None:
        self._conductor = conductor

    async def handle(self, delivery: Delivery) -> None:
        """Bring the session on; acknowledged when it is remembered. Raises `Reject`, `Unavailable`."""
        try:
            key = key_of(delivery.subject)
            message = decode(delivery.subject, delivery.data)
        except (InvalidKey, MalformedMessage) as e:
            raise Reject(str(e)) from e
        await self._conductor.advance(key, Heard(delivery.sequence, message))
        if isinstance(message, TurnEnd):
            TURNS.labels(message.outcome).inc()


class AdmissionRequests:
    """Answers `scheduler.admit`."""

    def __init__(self, bus: Bus, desk: Desk) -> None:
        self._bus = bus
        self._desk = desk
        self._slots = asyncio.Semaphore(AT_ONCE)

    async def run(self) -> None:
        """Answer for ever; what cannot be answered now is left to the asker's next try."""
        arrived: asyncio.Queue[Msg] = asyncio.Queue()
        subscription = await self._bus.client.subscribe(
            Admit.subject(), queue=QUEUE_GROUP, cb=arrived.put, pending_msgs_limit=10_000
        )
        try:
            async with asyncio.TaskGroup() as tasks:
                while True:
                    message = await arrived.get()
                    await self._slots.acquire()
                    task = tasks.create_task(self._answer(message), name="admit")
                    task.add_done_callback(lambda _: self._slots.release())
        finally:
            if not self._bus.client.is_closed:
                await subscription.unsubscribe()

    async def _answer(self, message: Msg) -> None:
        try:
            answer: Admission | NotNow = await self._desk.answer(Admit.decode(message.data))
        except (MalformedMessage, InvalidKey) as e:
            REFUSED.labels("scheduler", "admit").inc()
            answer = Admission(admitted=False, reason=f"This request cannot be read: {e}")
        except Unavailable as e:
            log.warning("the bus is away", error=str(e))
            return
        except Exception:
            log.exception("an admission failed")
            return
        await reply(message, answer)
