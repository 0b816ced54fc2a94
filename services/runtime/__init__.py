"""Plumbing that every service shares: the bus, errors as instructions to it, settings, lifecycle, logs, metrics.

What never belongs here: a word of the domain (turns, threads, agents). A service could be about anything.
"""
