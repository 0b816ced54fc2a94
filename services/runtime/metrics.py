"""Metrics that every service has, and the page that a scraper reads."""

from prometheus_client import CONTENT_TYPE_LATEST, Counter, generate_latest

HANDLED = Counter("threadmill_handled_total", "Messages processed", ["service", "consumer"])
DEAD_LETTERS = Counter("threadmill_dead_letters_total", "Messages that could not be processed", ["service"])
UNREADABLE = Counter("threadmill_unreadable_values_total", "Values that count as none", ["bucket"])
REFUSED = Counter("threadmill_refused_total", "Bad input refused at the door", ["service", "reason"])


def exposition() -> tuple[bytes, str]:
    """Return the metrics page and its content type."""
    return generate_latest(), CONTENT_TYPE_LATEST
