"""An object of the API server, as its JSON has it."""

from typing import Any

Object = dict[str, Any]
