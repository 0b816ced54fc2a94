"""What the archiver counts."""

from prometheus_client import Counter, Gauge, Histogram

ARCHIVED = Counter("threadmill_archived_events_total", "Events written into objects")
OBJECTS = Counter("threadmill_archive_objects_total", "Objects written")
BYTES = Counter("threadmill_archive_bytes_total", "Bytes written, compressed")
WAITING = Gauge("threadmill_archive_waiting_events", "Events that were heard of and are not archived yet")
STORE_AWAY = Gauge("threadmill_archive_store_away", "1 while the object store cannot be used")
CORRUPT = Gauge(
    "threadmill_archive_corrupt_sessions", "Sessions that wait since an object of theirs cannot be read"
)
PURGED = Counter("threadmill_purged_events_total", "Archived events that left the stream")
EXPIRED = Counter("threadmill_expired_sessions_total", "Sessions that retention deleted", ["dry_run"])
LAG = Histogram(
    "threadmill_archive_lag_seconds",
    "From an event's storage in the stream to its object",
    buckets=(0.05, 0.1, 0.5, 1, 5, 15, 30, 45, 60, 300, 3600),
)
