"""Who may use the bot, and where: blocklist first, then allowlist, then open."""

from typing import Literal

import msgspec

Kind = Literal["direct", "private", "public", "unknown"]


class Rules(msgspec.Struct, frozen=True, kw_only=True):
    """Slack's ids. An empty allowlist allows everybody; `bots` are other apps' bots (`B...`) that may speak to us.

    `external_teams` are the workspaces whose people may use the bot through Slack Connect, `*` for all of them.
    """

    block_users: tuple[str, ...] = ()
    block_channels: tuple[str, ...] = ()
    block_teams: tuple[str, ...] = ()
    allow_users: tuple[str, ...] = ()
    allow_channels: tuple[str, ...] = ()
    allow_teams: tuple[str, ...] = ()
    direct_messages: bool = True
    private_channels: bool = True
    bots: tuple[str, ...] = ()
    external_teams: tuple[str, ...] = ()


class Actor(msgspec.Struct, frozen=True, kw_only=True):
    """Who does something where; `team` is our installation's workspace."""

    user: str
    channel: str
    team: str
    kind: Kind


def refusal(rules: Rules, actor: Actor) -> str:
    """Return why `actor` may not, as a sentence for them; empty when they may."""
    direct = actor.kind == "direct"
    reasons = (
        (
            actor.user in rules.block_users or actor.team in rules.block_teams,
            "You may not use this bot; ask whoever runs it to take you off its blocklist.",
        ),
        (
            actor.channel in rules.block_channels,
            "This bot may not be used in this channel; use it in another one.",
        ),
        (
            direct and not rules.direct_messages,
            "This bot takes no direct messages; mention it in a channel.",
        ),
        (
            actor.kind == "private" and not rules.private_channels,
            "This bot may not be used in private channels; use it in a public one.",
        ),
        (
            _left_out(actor.user, rules.allow_users),
            "Only some people may use this bot; ask whoever runs it to put you on its allowlist.",
        ),
        (
            _left_out(actor.team, rules.allow_teams),
            "This bot may not be used in this workspace; ask whoever runs it to allow it.",
        ),
        (
            not direct and _left_out(actor.channel, rules.allow_channels),
            "This bot may be used in some channels only, and this is none of them.",
        ),
    )
    return next((sentence for holds, sentence in reasons if holds), "")


def _left_out(one: str, allowed: tuple[str, ...]) -> bool:
    return bool(allowed) and one not in allowed


def outsider_allowed(rules: Rules, team: str) -> bool:
    """Whether people of the workspace `team` may use the bot through Slack Connect."""
    return team in rules.external_teams or "*" in rules.external_teams


def kind_of(channel: str, channel_type: str | None) -> Kind:
    """Return what sort of conversation `channel` is, as far as its id and Slack's `channel_type` tell."""
    if channel_type == "im" or channel.startswith("D"):
        return "direct"
    if channel_type in {"group", "mpim"} or channel.startswith("G"):
        return "private"
    return "public" if channel_type == "channel" else "unknown"
