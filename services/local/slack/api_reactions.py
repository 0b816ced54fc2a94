"""`reactions.*`."""

import re

from services.local.slack import events, render
from services.local.slack.calls import Arguments, Context, Method, Methods
from services.local.slack.errors import SlackError
from services.local.slack.limits import TIER_2, TIER_3
from services.local.slack.model import BOT_USER, Json, Message

REACTION = re.compile(r"[a-z0-9_+'-]{1,100}(::skin-tone-[2-6])?")


class Reaction(Arguments, kw_only=True):
    """Arguments of reactions.add, reactions.remove and reactions.get."""

    channel: str
    timestamp: str
    name: str = ""


def add_reaction(ctx: Context, args: Reaction) -> Json:
    """reactions.add."""
    message = _reacted_to(ctx, args)
    ctx.workspace.react(message, BOT_USER, args.name)
    ctx.emit([events.reacted(ctx.workspace, message, BOT_USER, args.name)])
    return {}


def remove_reaction(ctx: Context, args: Reaction) -> Json:
    """reactions.remove."""
    message = _reacted_to(ctx, args)
    ctx.workspace.unreact(message, BOT_USER, args.name)
    ctx.emit([events.reacted(ctx.workspace, message, BOT_USER, args.name, removed=True)])
    return {}


def get_reactions(ctx: Context, args: Reaction) -> Json:
    """reactions.get."""
    message = ctx.workspace.message(args.channel, args.timestamp)
    return {
        "type": "message",
        "channel": args.channel,
        "message": render.message(ctx.workspace, message, ctx.base),
    }


def _reacted_to(ctx: Context, args: Reaction) -> Message:
    if not REACTION.fullmatch(args.name):
        raise SlackError("invalid_name")
    message = ctx.workspace.message(args.channel, args.timestamp)
    if message.only_for:
        raise SlackError("message_not_found")
    return message


METHODS: Methods = {
    "reactions.add": Method(Reaction, add_reaction, TIER_3),
    "reactions.remove": Method(Reaction, remove_reaction, TIER_2),
    "reactions.get": Method(Reaction, get_reactions, TIER_3, form_only=True),
}
