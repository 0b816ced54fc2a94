"""`slack manifest`: what to paste into Slack's form for a new app."""

import msgspec
import typer

app = typer.Typer(help="What Slack needs to know of Threadmill.", no_args_is_help=True, add_completion=False)

BOT_SCOPES = [
    "app_mentions:read", "assistant:write", "channels:history", "channels:read", "chat:write", "files:read",
    "files:write", "groups:history", "groups:read", "im:history", "im:read", "im:write", "reactions:read",
    "reactions:write", "users:read",
]  # fmt: skip
BOT_EVENTS = [
    "agent_session_stopped", "app_mention", "message.channels", "message.groups", "message.im", "reaction_added",
]  # fmt: skip


def build_manifest(name: str) -> dict[str, object]:
    """Return the manifest of an app that connects by Socket Mode."""
    return {
        "display_information": {"name": name, "description": "Turns every thread into a coding session"},
        "features": {
            "bot_user": {"display_name": name, "always_online": True},
            "app_home": {"messages_tab_enabled": True, "messages_tab_read_only_enabled": False},
        },
        "oauth_config": {"scopes": {"bot": BOT_SCOPES}},
        "settings": {
            "event_subscriptions": {"bot_events": BOT_EVENTS},
            "interactivity": {"is_enabled": True},
            "socket_mode_enabled": True,
            "token_rotation_enabled": False,
            "org_deploy_enabled": False,
        },
    }


@app.command()
def manifest(name: str = typer.Option("Threadmill", help="The app's name in Slack.")) -> None:
    """Print the manifest of a Socket Mode app; docs/slack.md says where to paste it."""
    typer.echo(msgspec.json.format(msgspec.json.encode(build_manifest(name)), indent=2).decode())


@app.callback()
def group() -> None:
    """Keep `manifest` a command of its own."""
