"""Adapters that drive a coding agent: one module per agent, all behind the protocol in `protocol`.

What belongs here: starting or resuming the agent, turning its own events into ours, its process tree. What never does:
the bus, git, Slack, or pretending to be a model.
"""
