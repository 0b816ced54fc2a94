"""The services of Threadmill. Each package is one service, whose docstring says what belongs there.

Services know each other only by the messages in `schemas`; `runtime` is the plumbing that they share; only `local`
and `cli` know several of them.
"""
