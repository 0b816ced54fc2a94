"""What a session's worker uses, as the one person who asks reads it. Pure."""

from datetime import datetime, timedelta

from schemas.live import ResourceSample
from services.ingress.writer.samples import Sampled

# A worker samples every 5 s; one that was silent for so long is gone.
GONE = timedelta(seconds=20)
NOBODY = "No worker is busy with this session right now; the next message starts one."
MIB, GIB = 2**20, 2**30


def details(sampled: Sampled | None, now: datetime) -> str:
    """Return a sentence about the worker that sent `sampled` last."""
    if sampled is None or now - sampled.at > GONE:
        return NOBODY
    return describe(sampled.sample)


def describe(sample: ResourceSample) -> str:
    """Return `sample` as people read it."""
    limit = f" of {sample.memory_limit / MIB:,.0f} MB" if sample.memory_limit else ""
    parts = [f"{sample.cpu:.1f} CPU cores", f"{sample.memory / MIB:,.0f} MB{limit} of memory"]
    left = f" {sample.disk_free / GIB:,.1f} GB of its disk are free." if sample.disk_free else ""
    if sample.seconds_left is not None:
        left += f" The turn has {sample.seconds_left // 60} min {sample.seconds_left % 60} s left."
    return "The worker uses " + ", ".join(parts) + f".{left}"
