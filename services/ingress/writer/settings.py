"""What an operator may change about the writer."""

import msgspec


class WriterSettings(msgspec.Struct, frozen=True, kw_only=True):
    """All times in seconds.

    `append_every` is how long live text gathers before it is sent; `rotate_after` stays below the five minutes after
    which Slack lets a stream die; `controls_after` is how long a turn runs before it gets its Stop button; a part of a
    split answer has `part_chars` characters, and an answer of more than `most_parts` parts goes into a file.
    `sweep_after` are the moments after a take-over at which duplicates of a frozen predecessor are deleted.
    """

    reactions: bool = True
    append_every: float = 0.3
    rotate_after: float = 240.0
    controls_after: float = 2.0
    status_again_after: float = 90.0
    part_chars: int = 11_000
    most_parts: int = 5
    renew_every: float = 5.0
    survey_every: float = 2.0
    save_every: float = 1.0
    sweep_after: tuple[float, ...] = (20.0, 45.0)
    forget_after: float = 900.0
    drain_within: float = 8.0
