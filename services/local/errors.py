"""What keeps local mode from beginning or from being reached."""


class LocalError(Exception):
    """The text is one sentence for a person, with the way out."""
