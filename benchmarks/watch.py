"""A bare subscriber that receives every lease and does nothing with it (`python -m benchmarks.watch`)."""

import msgspec
import nats
import uvloop
from nats.aio.msg import Msg

from benchmarks.child import tell, told, until_ended
from schemas.bus import LEASES


class Watch(msgspec.Struct, kw_only=True):
    """Where the broker is."""

    nats_url: str


async def _pass_over(_: Msg) -> None:
    """It is received."""


async def _main(watch: Watch) -> None:
    client = await nats.connect(watch.nats_url)
    await client.subscribe(f"$KV.{LEASES.name}.>", cb=_pass_over)
    await client.flush()
    tell(True)
    await until_ended()
    await client.close()


if __name__ == "__main__":
    uvloop.run(_main(told(Watch)))
