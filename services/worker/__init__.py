"""The worker: one session at a time, from an assignment until it is idle; then it is gone.

What belongs here: the lease, the workspace, the agent, the session's events, git. What never does: a Slack token, a
cloud credential, or any right beyond the worker's own session. `core` decides, `session` acts, `app` wires.
"""
