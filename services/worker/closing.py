"""The last steps of a turn: its work is saved, and its end is written. A stop cuts the saving short, never the work."""

import asyncio

import msgspec

from schemas.ends import TurnEnd
from schemas.events import CommitPushed
from schemas.inputs import Control
from services.worker.clock import Clock
from services.worker.core import Waiting
from services.worker.happenings import Happening, Logged, Saved, StopHeard
from services.worker.place import Place
from services.worker.tally import Ending, stopped


class Closing:
    """Closes the turn that `opener` opened."""

    def __init__(self, place: Place, opener: Waiting, clock: Clock) -> None:
        self._place = place
        self._opener = opener
        self._clock = clock

    async def save(self, ending: Ending) -> tuple[Ending, tuple[CommitPushed, ...]]:
        """Save the work; return how the turn ends now, and the commits as far as they are there. Raises `LeaseLost`."""
        saving = asyncio.create_task(self._save(), name="save")
        saving.add_done_callback(lambda _: self._place.line.report(Saved()))
        if ending.hurried:
            self._clock.start_saving()
        try:
            ending = await self._while_saving(saving, ending)
        finally:
            self._place.station.saving.goes_on(saving)
        return ending, saving.result() if saving.done() else ()

    async def _save(self) -> tuple[CommitPushed, ...]:
        station = self._place.station
        return await station.saving.save(station.work, self._opener.said, self._opener.sequence)

    async def _while_saving(self, saving: asyncio.Task[tuple[CommitPushed, ...]], ending: Ending) -> Ending:
        while not saving.done():
            happening = await self._place.line.next()
            ending = self._stopped(ending, happening)
            if ending.hurried and self._clock.is_over(happening):
                break
        return ending

    def _stopped(self, ending: Ending, happening: Happening) -> Ending:
        """Return how the turn ends after `happening`: a completed one can be stopped still, any other stays what it is.

        The log tells who stopped what was heard to be stopped.
        """
        stop = self._stop_in(happening)
        if stop is None or ending.handed_over:
            return ending
        if not ending.hurried:
            self._clock.start_saving()
        return stop if ending.outcome == "completed" else ending.after(stop)

    def _stop_in(self, happening: Happening) -> Ending | None:
        match happening:
            case StopHeard(control):
                return stopped(control) if self._place.view.may_stop(control, self._opener) else None
            case Logged(sequence, message):
                stops = self._place.view.stops(sequence, message, self._opener)
                self._place.view.apply(sequence, message)
                if stops and isinstance(message, Control):
                    return stopped(message, by=message.user.id)
        return None

    async def end(self, end: TurnEnd, attempt: int, commits: tuple[CommitPushed, ...]) -> None:
        """Write `end`, with what is known only now. Raises `LeaseLost`."""
        place = self._place
        whole = msgspec.structs.replace(
            end,
            attempt=attempt,
            agent=place.agent_name,
            branch=place.station.branch,
            repo=place.station.repo,
            commits=commits,
            state_complete=place.station.state_complete,
        )
        place.view.written(await place.log.end(whole), whole)
