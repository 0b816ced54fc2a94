"""Local mode: all of Threadmill on one machine, with a real broker and a Slack workspace to talk in.

What belongs here: the embedded composition, the broker's process, the Slack simulator, its page, the rules of who may
use them. Only this package and the command line know several services.
"""
