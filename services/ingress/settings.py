"""What ingress is told."""

from collections.abc import Mapping
from typing import Annotated

import msgspec

from services.ingress.access import Rules
from services.ingress.slack_transport import SLACK
from services.ingress.writer.settings import WriterSettings
from services.runtime.errors import SettingsError
from services.runtime.files import MOST_BYTES
from services.runtime.lifecycle import ServiceSettings
from services.runtime.settings import load

BotToken = Annotated[str, msgspec.Meta(extra={"env": "SLACK_BOT_TOKEN"})]
AppToken = Annotated[str, msgspec.Meta(extra={"env": "SLACK_APP_TOKEN"})]
SigningSecret = Annotated[str, msgspec.Meta(extra={"env": "SLACK_SIGNING_SECRET"})]


class IngressSettings(ServiceSettings, frozen=True, kw_only=True):
    """With a signing secret it listens on HTTP, with an app token it opens Socket Mode connections; both may be.

    `http_port` 0 opens no port: whoever composes mounts the routes. `file_bytes` is one attachment's limit.
    """

    bot_token: BotToken = ""
    app_token: AppToken = ""
    signing_secret: SigningSecret = ""
    slack_api_url: str = SLACK
    http_host: str = "0.0.0.0"  # noqa: S104 (Slack comes from outside the pod)
    http_port: Annotated[int, msgspec.Meta(ge=0, le=65535)] = 3000
    socket_connections: Annotated[int, msgspec.Meta(ge=1, le=10)] = 2
    file_bytes: Annotated[int, msgspec.Meta(ge=1, le=MOST_BYTES)] = 20 * 2**20
    files: Annotated[int, msgspec.Meta(ge=0, le=10)] = 10
    writer: WriterSettings = WriterSettings()
    access: Rules = Rules()


def load_settings(environ: Mapping[str, str]) -> IngressSettings:
    """Return the settings. Raises `SettingsError`."""
    settings = load(IngressSettings, environ)
    if not settings.bot_token or not (settings.signing_secret or settings.app_token):
        raise SettingsError(
            "Slack's credentials are missing: set SLACK_BOT_TOKEN, and SLACK_SIGNING_SECRET (HTTP) or"
            " SLACK_APP_TOKEN (Socket Mode)"
        )
    return settings
