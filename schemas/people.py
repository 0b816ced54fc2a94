"""Who says something, and what they hand over."""

import msgspec


class Person(msgspec.Struct, frozen=True, kw_only=True):
    """Somebody in Slack: `id` is Slack's, `name` is what others see."""

    id: str
    name: str = ""


class Remark(msgspec.Struct, frozen=True, kw_only=True):
    """Something that was said, and by whom."""

    user: Person
    text: str


class File(msgspec.Struct, frozen=True, kw_only=True):
    """A file kept in the stream FILES under `object`; `size` in bytes."""

    object: str
    name: str
    media_type: str
    size: int
