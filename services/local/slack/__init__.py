"""A Slack workspace that runs here: what Slack would answer, refuse, limit, send and send again.

Here belongs Slack's own behaviour as far as Threadmill can meet it, with state that a test can ask for and faults that
a test can order. Nothing here knows Threadmill: no session, no turn, no agent, no bus. `model`, `workspace`, `streams`,
`blocks`, `render` and `events` are pure; `delivery`, `socket_mode`, `api`, `doors` and `persistence` do the I/O; `app`
puts them together.
"""
