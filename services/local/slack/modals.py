"""Modals that the app opened: what a person enters, sent to the app, and what its answer does."""

from services.local.slack import events
from services.local.slack.acts import TRIGGER_LIFE, chosen
from services.local.slack.blocks import VIEW_BLOCKS, check_blocks, interactive_elements, with_ids
from services.local.slack.bodies import Submit
from services.local.slack.calls import Context
from services.local.slack.errors import SlackError
from services.local.slack.model import Json


def open_for(ctx: Context, user: str) -> list[Json]:
    """The modals that this person has before them."""
    ctx.workspace.person(user)
    return [_public(view) for view in ctx.views.values() if view["opened_by"] == user]


def submission(ctx: Context, body: Submit) -> Json:
    """The `view_submission` of these entries."""
    view = ctx.views.get(body.view_id)
    if view is None or view["opened_by"] != body.user:
        raise SlackError("view_not_found")
    values: dict[str, Json] = {}
    for block_id, element in interactive_elements(view["blocks"]):
        entered = body.values.get(block_id, {}).get(element["action_id"])
        if entered is not None:
            values.setdefault(block_id, {})[element["action_id"]] = {
                "type": element["type"],
                **chosen(element, entered),
            }
    until = ctx.workspace.clock.now() + TRIGGER_LIFE
    trigger = ctx.tickets.issue("trigger", body.user, until=until)
    return events.submitted(ctx.workspace, body.user, _public(view) | {"state": {"values": values}}, trigger)


def settle(ctx: Context, view_id: str, answer: Json) -> Json:
    """Do what the app answered: show its errors, put another view in place, or close."""
    match answer:
        case {"response_action": "errors", "errors": dict() as errors}:
            return {"closed": False, "errors": errors}
        case {"response_action": "update", "view": {"blocks": list() as blocks} as view}:
            check_blocks(blocks, most=VIEW_BLOCKS)
            ctx.views[view_id] |= view | {"blocks": with_ids(blocks)}
            return {"closed": False}
        case _:
            ctx.views.pop(view_id, None)
            return {"closed": True}


def _public(view: Json) -> Json:
    return {key: value for key, value in view.items() if key != "opened_by"}
