"""Prints the mark of the workers that a scheduler makes; `smoke` runs it where the scheduler runs, with its settings."""

import sys

from services.scheduler.__main__ import settings
from services.scheduler.jobs.pools import Pools

told = settings()
assert told.pools is not None
sys.stdout.write(Pools.read(told.pools, told.worker_image).pools[told.scheduler.pool].template)
