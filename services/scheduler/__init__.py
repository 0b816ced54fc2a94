"""The scheduler: decides which turn runs, when, for how long and how often, and hands out workers.

Its memory of a session (`turns`) is a fold over the session's log, written by compare-and-set: whichever replica hears
something brings the memory up to that place in the log, decides, and acts; every act may be done twice without harm.
Decisions are pure (`core`, `memory`, `rate`, `capacity`); everything else is an adapter. What never belongs here: Slack,
object storage, agents, or what a turn says.
"""
