"""What the archiver is told."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import msgspec

from schemas.keys import token
from services.runtime.errors import SettingsError
from services.runtime.lifecycle import ServiceSettings
from services.runtime.settings import load

# Purging an input ends its uniqueness, which is promised for a day.
KeepDays = Annotated[float, msgspec.Meta(ge=1)]
# A hundred years: the calendar ends before the largest numbers do.
RetentionDays = Annotated[int, msgspec.Meta(ge=0, le=36_500)]


class ArchiverSettings(ServiceSettings, frozen=True, kw_only=True):
    """Either `folder` or `bucket` (of GCS; `gcs_endpoint` is an emulator's) holds the archive.

    `keep_days` is how long events stay in the stream after they were archived, `retention_days` how long the archive
    keeps a session after its last event, 0 for ever; `team_retention_days` are teams with another number, `T1=30`.
    `retention_dry_run` only tells what would go. Other durations are in seconds.
    """

    folder: Path | None = None
    bucket: str | None = None
    gcs_endpoint: str | None = None
    flush_seconds: Annotated[float, msgspec.Meta(gt=0, le=600)] = 30.0
    keep_days: KeepDays = 7.0
    retention_days: RetentionDays = 0
    team_retention_days: tuple[str, ...] = ()
    retention_dry_run: bool = False
    sweep_seconds: Annotated[float, msgspec.Meta(gt=0)] = 3600.0

    def days_of(self) -> Mapping[str, int]:
        """Return the teams with a number of days of their own. Raises `SettingsError`."""
        try:
            pairs = [one.split("=") for one in self.team_retention_days]
            return {token(team): msgspec.convert(days, RetentionDays, strict=False) for team, days in pairs}
        except (ValueError, msgspec.ValidationError) as e:
            raise SettingsError(
                "THREADMILL_TEAM_RETENTION_DAYS is a list like T1=30,T2=0 of teams and days, where 0 keeps a team's"
                " sessions for ever"
            ) from e


def check(settings: ArchiverSettings) -> ArchiverSettings:
    """Return settings that can be used. Raises `SettingsError`."""
    if (settings.folder is None) == (settings.bucket is None):
        raise SettingsError(
            "the archive needs one place: set either THREADMILL_FOLDER or THREADMILL_BUCKET (of GCS)"
        )
    settings.days_of()
    return settings


def load_settings(environ: Mapping[str, str]) -> ArchiverSettings:
    """Return the settings in the environment. Raises `SettingsError`."""
    return check(load(ArchiverSettings, environ))
