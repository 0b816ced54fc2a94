"""Counts of what hardly ever happens: a process that nobody scrapes, such as a worker, need not load metrics before it does."""


def count_refused(service: str, reason: str) -> None:
    """Count bad input that `service` passed over."""
    from services.runtime.metrics import REFUSED  # noqa: PLC0415 (large, and seldom needed)

    REFUSED.labels(service, reason).inc()


def count_unreadable(bucket: str) -> None:
    """Count a value of `bucket` that counts as none."""
    from services.runtime.metrics import UNREADABLE  # noqa: PLC0415 (large, and seldom needed)

    UNREADABLE.labels(bucket).inc()
