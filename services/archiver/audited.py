"""Reading that leaves a trail: what an operator reads is in AUDIT before it is answered."""

from schemas.archive import LogPage, ReadLog, Refused
from schemas.keys import SessionKey, token
from schemas.operations import Audited
from services.archiver.reading import Reading
from services.runtime.audit import audit
from services.runtime.bus import Bus


class AuditedReading:
    """Answers `ReadLog`; without an entry in the trail, nothing is given to an operator."""

    def __init__(self, bus: Bus, reading: Reading) -> None:
        self._bus = bus
        self._reading = reading

    async def answer(self, request: ReadLog) -> LogPage | Refused:
        """Return the page that `request` asks for. Raises as `Reading.answer` does."""
        if request.by:
            await self._audit(request)
        return await self._reading.answer(request)

    async def _audit(self, request: ReadLog) -> None:
        key = SessionKey.parse(request.session)
        once = token(request.reading) if request.reading else self._bus.new_id()
        did = "exported" if request.export else "read"
        await audit(self._bus, Audited(team=key.team, who=request.by, did=did, session=str(key)), once=once)
