"""What a press means: an answer, a stop, a continue, or a look at the details. Pure."""

from schemas.inputs import Answered, Continued, Stop
from schemas.keys import ts_token
from schemas.people import Person
from services.ingress import access, buttons
from services.ingress.access import Actor, Rules
from services.ingress.buttons import InvalidButton, Pressed
from services.ingress.decisions import Decision, Ignore, Place, Show, Store
from services.ingress.interactions import Action, Press
from services.ingress.timing import at, untimely

OURS = "threadmill."


def decide(press: Press, rules: Rules, now: float) -> list[Decision]:
    """Return what to do about each pressed element. Raises `InvalidButton`, `InvalidKey`."""
    return [_decide(press, action, rules, now) for action in press.actions] or [Ignore("nothing_pressed")]


def _decide(press: Press, action: Action, rules: Rules, now: float) -> Decision:
    if not action.action_id.startswith(OURS):
        return Ignore("foreign_button")
    pressed = buttons.read(action.action_id, action.value or "")
    channel = press.channel.id if press.channel else ""
    if pressed.key.channel != channel:
        raise InvalidButton("the button belongs to a session of another channel")
    if problem := untimely(action.action_ts, now):
        return Ignore(problem)
    if _outsider(press) and not access.outsider_allowed(rules, press.user.team_id or ""):
        return Ignore("outsider")
    return _allowed(press, action, pressed, rules)


def _allowed(press: Press, action: Action, pressed: Pressed, rules: Rules) -> Decision:
    key, person = pressed.key, Person(id=press.user.id, name=press.user.name or press.user.username or "")
    kind = access.kind_of(key.channel, _channel_type(press))
    place = Place(channel=key.channel, user=person.id, thread_ts=key.thread_ts)
    refusal = access.refusal(rules, Actor(user=person.id, channel=key.channel, team=key.team, kind=kind))
    id_ = f"{'s' if pressed.what == 'stop' else 'a'}-{ts_token(action.action_ts)}"
    if pressed.what == "details":
        return Show(key=key, place=place, id=id_, refusal=refusal)
    return Store(
        key=key,
        message=_message(pressed, id_, person, action),
        id=id_,
        place=place,
        refusal=refusal,
        pressed=True,
    )


def _message(pressed: Pressed, id_: str, person: Person, action: Action) -> Stop | Continued | Answered:
    when = at(action.action_ts)
    match pressed.what:
        case "stop":
            return Stop(user=person, at=when)
        case "continue":
            return Continued(id=id_, user=person, at=when)
    return Answered(id=id_, user=person, at=when, question=pressed.question, choice=pressed.choice)


def _outsider(press: Press) -> bool:
    # An organisation's installation has no one workspace; its own people come from several.
    home = press.team.id if press.team else None
    return home is not None and press.user.team_id not in {None, home} and not press.is_enterprise_install


def _channel_type(press: Press) -> str | None:
    names = {"directmessage": "im", "privategroup": "group"}
    name = press.channel.name if press.channel else None
    return names.get(name, "channel") if name else None
