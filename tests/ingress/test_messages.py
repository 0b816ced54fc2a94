"""A message in Slack becomes an input of the right session, once."""

from schemas.inputs import Said
from schemas.keys import ts_token
from services.runtime.bus import Bus
from tests.ingress.conftest import Door, Slack, eventually, stored


async def test_a_mention_starts_a_session_in_its_thread(bus: Bus, slack: Slack, ingress: Door) -> None:
    ts = await slack.says("@threadmill please fix the build")

    inputs = await eventually(lambda: stored(bus))

    token = ts_token(ts)
    said = inputs[f"T1.C1.{token}.in.{token}"]
    assert isinstance(said, Said)
    assert (said.user.id, said.text, len(inputs)) == ("U1", "please fix the build", 1)
