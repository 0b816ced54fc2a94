"""Objects in a bucket of Google Cloud Storage."""

import contextlib
import http.client
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from google.api_core import exceptions as api
from google.auth import exceptions as auth
from google.auth.credentials import AnonymousCredentials
from google.cloud import storage
from google.cloud.storage.exceptions import DataCorruption
from google.cloud.storage.retry import DEFAULT_RETRY

from services.archiver.backend import (
    Corrupt,
    Missing,
    ObjectInfo,
    PreconditionFailed,
    StoreError,
    Unavailable,
    Upload,
    crc32c,
)

_READS = 2  # what is damaged twice was not damaged on its way
_ATTEMPT = 10.0  # seconds for one request: a lost answer leaves time for another try
_DAY = 24 * 3600
_RETRY = DEFAULT_RETRY.with_delay(initial=0.2, maximum=2.0, multiplier=2.0)


def connect(endpoint: str | None = None) -> storage.Client:
    """Make a client with the environment's own credentials, or, for an emulator at `endpoint`, with none."""
    # Else the client asks for the bucket's properties on threads of its own, past any deadline of ours.
    os.environ.setdefault("DISABLE_GCS_PYTHON_CLIENT_OTEL_BUCKET_METADATA", "true")
    if endpoint is None:
        return storage.Client()
    credentials = AnonymousCredentials()  # type: ignore[no-untyped-call] # google-auth types it in part
    return storage.Client(
        project="emulator", credentials=credentials, client_options={"api_endpoint": endpoint}
    )


class Bucket:
    """A `Backend` in one bucket, which must exist."""

    def __init__(self, client: storage.Client, name: str) -> None:
        self._client = client
        self._bucket = client.bucket(name)

    def put(self, upload: Upload, until: float) -> ObjectInfo:
        """See `Backend.put`."""
        blob = self._bucket.blob(upload.name)
        blob.metadata = upload.metadata
        try:
            with _told(upload.name):
                blob.upload_from_string(
                    upload.data,
                    upload.content_type,
                    if_generation_match=upload.expected,
                    checksum="crc32c",
                    **_within(until),
                )
            return _info(blob)
        except PreconditionFailed:
            current = self._find(upload.name, until)
            if current and upload.made(current):
                return current
            raise

    def read(self, name: str, until: float) -> bytes:
        """See `Backend.read`."""
        for _ in range(_READS):
            blob = self._bucket.blob(name)
            with _told(name), contextlib.suppress(DataCorruption):
                data: bytes = blob.download_as_bytes(raw_download=True, checksum="crc32c", **_within(until))
                if blob.crc32c is None:  # an answer without it passes the client's own check
                    blob.reload(**_within(until))
                if blob.crc32c == crc32c(data):
                    return data
        raise Corrupt(f"{name} is not what was written; restore an older generation of it")

    def page(self, prefix: str, after: str, limit: int, until: float) -> tuple[ObjectInfo, ...]:
        """See `Backend.page`."""
        with _told(prefix):
            # The offset is part of GCS's answer and no part of this one, hence one more.
            found = self._bucket.list_blobs(
                prefix=prefix, start_offset=after or None, max_results=limit + 1, **_within(until)
            )
            return tuple(_info(blob) for blob in found if blob.name > after)[:limit]

    def delete(self, name: str, until: float) -> int:
        """See `Backend.delete`."""
        generations = self._generations(name, until)
        for generation in generations:
            self._delete(name, generation, until)
        if generations and (left := self._generations(name, until)):
            raise StoreError(
                f"{name}: the bucket kept {len(left)} generations; end their holds and delete again"
            )
        return len(generations)

    def soft_delete_days(self, until: float) -> float | None:
        """See `Backend.soft_delete_days`."""
        with _told(self._bucket.name):
            self._bucket.reload(**_within(until))
        seconds = self._bucket.soft_delete_policy.retention_duration_seconds
        return seconds / _DAY if seconds else None

    def close(self) -> None:
        """See `Backend.close`."""
        self._client.close()

    def _find(self, name: str, until: float) -> ObjectInfo | None:
        with _told(name):
            blob = self._bucket.get_blob(name, **_within(until))
        return _info(blob) if blob else None

    def _generations(self, name: str, until: float) -> list[int]:
        with _told(name):
            # The word as the API spells it; the client would send True as "True".
            found = self._bucket.list_blobs(prefix=name, versions="true", **_within(until))
            return [blob.generation for blob in found if blob.name == name]

    def _delete(self, name: str, generation: int, until: float) -> None:
        try:
            with _told(name):
                self._bucket.delete_blob(name, generation=generation, **_within(until))
        except Missing:
            return  # gone by a try whose answer was lost


def _within(until: float) -> dict[str, Any]:
    left = max(0.1, until - time.monotonic())
    return {"timeout": min(_ATTEMPT, left), "retry": _RETRY.with_timeout(left)}


def _info(blob: storage.Blob) -> ObjectInfo:
    return ObjectInfo(
        name=blob.name,
        size=blob.size,
        crc32c=blob.crc32c,
        generation=blob.generation,
        metadata=dict(blob.metadata or {}),
        created=blob.time_created,
    )


@contextmanager
def _told(name: str) -> Iterator[None]:
    """Raise the store's own errors for the client's."""
    try:
        yield
    except api.PreconditionFailed as e:
        raise PreconditionFailed(f"{name} is not as expected; list the objects and begin again") from e
    except api.NotFound as e:
        raise Missing(f"There is no {name}, or no such bucket") from e
    except DataCorruption as e:
        raise Unavailable(f"{name} was damaged on its way; try again") from e
    except (api.ServerError, api.TooManyRequests, api.RetryError, auth.GoogleAuthError) as e:
        raise Unavailable(f"{name}: the bucket is away ({e}); try again") from e
    except (OSError, http.client.HTTPException) as e:  # every error of requests is an OSError
        raise Unavailable(f"{name}: the bucket cannot be reached ({e}); try again") from e
    except api.GoogleAPICallError as e:
        raise StoreError(f"{name}: the bucket refused ({e}); check its name and the account's rights") from e
