"""Whether a body comes from Slack: version 0 of its signature, over the time and the raw bytes."""

import hashlib
import hmac

# Slack's own window: an older request may be a replay.
WINDOW = 300
VERSION = b"v0"


def sign(secret: str, timestamp: str, body: bytes) -> str:
    """Return the signature that Slack would send for `body`."""
    digest = hmac.new(secret.encode(), b"%s:%s:%s" % (VERSION, timestamp.encode(), body), hashlib.sha256)
    return f"{VERSION.decode()}={digest.hexdigest()}"


def fresh(timestamp: str, now: float) -> bool:
    """Whether `timestamp` (Unix seconds, as the header says it) is within Slack's window."""
    return (
        timestamp.isascii()
        and timestamp.isdecimal()
        and len(timestamp) < 12
        and abs(now - int(timestamp)) <= WINDOW
    )


def genuine(secret: str, timestamp: str, signature: str, body: bytes) -> bool:
    """Whether `signature` is Slack's for `body`, compared in constant time."""
    wanted = sign(secret, timestamp, body)
    return hmac.compare_digest(wanted.encode(), signature.encode("utf-8", "surrogateescape"))
