"""Everything that faces people in Slack: what they say and press goes onto the bus, what happens comes back to them.

Receiving is here, rendering is in `writer`. Decisions (`core`, `access`, `buttons`, `signature`) are pure; each outside
library has its one file: Slack's client in `slack_api`, its sockets in `socket_mode`, HTTP in `http`. What never belongs
here: running an agent, deciding whether a turn may start, talking to Kubernetes or to object storage.
"""
