"""A bare process that holds a connection and does nothing (`python -m benchmarks.idle`)."""

from importlib import import_module

import msgspec
import nats
import uvloop

from benchmarks.child import tell, told, until_ended


class Idle(msgspec.Struct, kw_only=True):
    """Where to connect, and what to import."""

    nats_url: str
    creds: str
    modules: tuple[str, ...] = ()


async def _main(idle: Idle) -> None:
    for module in idle.modules:
        import_module(module)
    client = await nats.connect(idle.nats_url, user_credentials=idle.creds)
    tell(True)
    await until_ended()
    await client.close()


if __name__ == "__main__":
    uvloop.run(_main(told(Idle)))
