"""What the scheduler is told."""

from datetime import timedelta
from typing import Annotated

import msgspec

# The broker forgets an assignment's id after two minutes; a start has to be over before that.
LaunchSeconds = Annotated[float, msgspec.Meta(gt=0, le=100)]
# The bucket of the windows forgets after a day.
WindowSeconds = Annotated[float, msgspec.Meta(gt=0, le=86_400)]
# They are added to dates, which end.
TurnSeconds = Annotated[int, msgspec.Meta(gt=0, le=7 * 86_400)]
Grace = Annotated[float, msgspec.Meta(ge=0, le=86_400)]
# An agent takes no budget of nothing.
Dollars = Annotated[float, msgspec.Meta(gt=0)]


class SchedulerSettings(msgspec.Struct, frozen=True, kw_only=True):
    """The rules. All durations are in seconds; `max_workers` includes the `warm` ones that wait for work.

    `deadline_grace` is longer than a worker takes to save its work, which may go over a slow network.
    """

    pool: str = "default"
    warm: Annotated[int, msgspec.Meta(ge=0)] = 1
    max_workers: Annotated[int, msgspec.Meta(ge=1)] = 4
    turns_per_window: Annotated[int, msgspec.Meta(ge=1)] = 5
    window_seconds: WindowSeconds = 900.0
    turn_seconds: TurnSeconds = 3600
    launch_timeout: LaunchSeconds = 60.0
    max_attempts: Annotated[int, msgspec.Meta(ge=1)] = 3
    max_budget_usd: Dollars | None = None
    stop_grace: Grace = 1.0
    deadline_grace: Grace = 75.0
    drain_grace: Grace = 10.0

    @property
    def window(self) -> timedelta:
        """How far back turns count against the limit."""
        return timedelta(seconds=self.window_seconds)

    @property
    def launch(self) -> timedelta:
        """How long a start may take until it counts as failed."""
        return timedelta(seconds=self.launch_timeout)
