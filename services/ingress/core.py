"""What an event means: which session, which input, or why it is none. Pure; what only others know stays an open point."""

from datetime import UTC, datetime

from schemas.inputs import Edited, Said, Stop, Withdrawn
from schemas.keys import SessionKey, ts_token
from schemas.people import Person
from services.ingress import access, text
from services.ingress.access import Actor, Rules
from services.ingress.decisions import Decision, Ignore, Place, Refuse, Store
from services.ingress.events import Callback, Mention, Message, Reaction, SessionStopped, Written

STOP_REACTION = "octagonal_sign"
# The log keeps what it has at least so long, so a younger message is stored only once; an older one might be a second time.
OLDEST = 24 * 3600.0
# Messages are older than we are; more than a wrong clock means that the timestamp is no timestamp.
NEWEST = 300.0
SPOKEN = {None, "file_share", "thread_broadcast", "me_message", "bot_message"}
WELCOME = "Tell me what to do in the same message: mention me and describe the task."


def decide(call: Callback, rules: Rules, bot: str, now: float) -> Decision:
    """Return what to do about an event; `bot` is the bot as a user. Raises `InvalidKey` for what is no Slack id."""
    event = call.event
    if _age(event, now) > OLDEST:
        return Ignore("too_old")
    if _age(event, now) < -NEWEST:
        return Ignore("from_the_future")
    match event:
        case Message():
            return _message(call, event, rules, bot)
        case Reaction():
            return _reaction(call, event, rules, bot)
        case SessionStopped():
            return _stopped(call, event, rules)


def _age(event: Message | Reaction | SessionStopped, now: float) -> float:
    stamp = event.event_ts or event.ts if isinstance(event, Message) else event.event_ts
    ts_token(stamp)
    return now - float(stamp)


def at(ts: str) -> datetime:
    """Return Slack's `ts` as a time."""
    return datetime.fromtimestamp(float(ts), UTC)


def _message(call: Callback, event: Message, rules: Rules, bot: str) -> Decision:
    if event.subtype == "message_changed" and event.message:
        return _changed(call, event, event.message, rules, bot)
    if event.subtype == "message_deleted" and event.deleted_ts:
        return _deleted(call, event, event.deleted_ts, bot)
    if event.subtype not in SPOKEN:
        return Ignore("subtype")
    if _own(call, event, bot):
        return Ignore("own")
    sender = event.user or event.bot_id
    if sender is None:
        return Ignore("nobody")
    if (event.bot_id or event.subtype == "bot_message") and not _bot_allowed(event, rules):
        return Ignore("bot")
    team = event.user_team or event.source_team or event.team
    if _outsider(call, team) and not access.outsider_allowed(rules, team or ""):
        return Ignore("outsider")
    return _said(call, event, sender, rules, bot)


def _said(call: Callback, event: Message, sender: str, rules: Rules, bot: str) -> Decision:
    raw = event.text or ""
    kind = access.kind_of(event.channel, event.channel_type)
    addressed = kind == "direct" or isinstance(event, Mention) or text.mentions(raw, bot)
    if not addressed and event.thread_ts is None:
        return Ignore("not_addressed")
    key = SessionKey.of_thread(call.team, event.channel, event.thread_ts or event.ts)
    place = Place(channel=event.channel, user=sender, thread_ts=event.thread_ts)
    refusal = access.refusal(rules, Actor(user=sender, channel=event.channel, team=call.team, kind=kind))
    words, person, id_ = text.plain(raw, bot), Person(id=sender), ts_token(event.ts)
    if text.is_stop(words):
        return Store(
            key=key,
            message=Stop(user=person, at=at(event.ts)),
            id=f"s-{id_}",
            place=place,
            only_in_session=True,
            check_private=_ask_private(kind, rules),
            refusal=refusal,
        )
    if not words and not event.files:
        return (
            Refuse(reason="empty", sentence=refusal or WELCOME, place=place, id=id_)
            if addressed
            else Ignore("empty")
        )
    return Store(
        key=key,
        message=Said(id=id_, user=person, at=at(event.ts), text=words),
        id=id_,
        place=place,
        attached=event.files or (),
        only_in_session=not addressed,
        check_private=_ask_private(kind, rules),
        refusal=refusal,
    )


def _changed(call: Callback, event: Message, new: Written, rules: Rules, bot: str) -> Decision:
    if new.subtype == "tombstone":
        return _deleted(call, event, new.ts, bot)
    before = event.previous_message
    if _own(call, new, bot) or new.bot_id or new.user is None:
        return Ignore("own" if _own(call, new, bot) else "bot")
    if before and before.text == new.text:
        return Ignore("unchanged")
    stamp, token = event.event_ts or event.ts, ts_token(new.ts)
    kind = access.kind_of(event.channel, event.channel_type)
    actor = Actor(user=new.user, channel=event.channel, team=call.team, kind=kind)
    if access.refusal(rules, actor):
        return Ignore("refused_edit")
    id_ = f"e-{token}-{ts_token(stamp)}"
    return Store(
        key=SessionKey.of_thread(call.team, event.channel, new.thread_ts or new.ts),
        message=Edited(
            id=id_, user=Person(id=new.user), at=at(stamp), of=token, text=text.plain(new.text or "", bot)
        ),
        id=id_,
        place=Place(channel=event.channel, user=new.user, thread_ts=new.thread_ts),
        only_in_session=True,
        check_outsider=call.is_ext_shared_channel,
    )


def _deleted(call: Callback, event: Message, ts: str, bot: str) -> Decision:
    before = event.previous_message
    if before is None or before.user is None or before.bot_id or _own(call, before, bot):
        return Ignore("own_or_bot_deleted")
    token = ts_token(ts)
    return Store(
        key=SessionKey.of_thread(call.team, event.channel, before.thread_ts or ts),
        message=Withdrawn(
            id=f"d-{token}", user=Person(id=before.user), at=at(event.event_ts or event.ts), of=token
        ),
        id=f"d-{token}",
        place=Place(channel=event.channel, user=before.user, thread_ts=before.thread_ts),
        only_in_session=True,
    )


def _reaction(call: Callback, event: Reaction, rules: Rules, bot: str) -> Decision:
    item = event.item
    if event.reaction != STOP_REACTION or item.channel is None or item.ts is None:
        return Ignore("reaction")
    if event.user == bot:
        return Ignore("own")
    return _stop(call, item.channel, item.ts, event.user, event.event_ts, rules, find_thread=True)


def _stopped(call: Callback, event: SessionStopped, rules: Rules) -> Decision:
    if event.user is None:
        return Ignore("nobody")
    return _stop(call, event.channel, event.thread_ts, event.user, event.event_ts, rules)


def _stop(
    call: Callback, channel: str, ts: str, user: str, stamp: str, rules: Rules, *, find_thread: bool = False
) -> Store:
    kind = access.kind_of(channel, None)
    return Store(
        key=SessionKey.of_thread(call.team, channel, ts),
        message=Stop(user=Person(id=user), at=at(stamp)),
        id=f"s-{ts_token(stamp)}",
        place=Place(channel=channel, user=user, thread_ts=None if find_thread else ts),
        only_in_session=True,
        find_thread=find_thread,
        check_outsider=call.is_ext_shared_channel,
        check_private=_ask_private(kind, rules),
        refusal=access.refusal(rules, Actor(user=user, channel=channel, team=call.team, kind=kind)),
    )


def _own(call: Callback, message: Message | Written, bot: str) -> bool:
    return message.user == bot or (bool(call.api_app_id) and message.app_id == call.api_app_id)


def _bot_allowed(event: Message, rules: Rules) -> bool:
    return bool({event.bot_id, event.app_id, event.user} & set(rules.bots) - {None})


def _outsider(call: Callback, team: str | None) -> bool:
    return call.is_ext_shared_channel and team not in {call.team, call.team_id}


def _ask_private(kind: access.Kind, rules: Rules) -> bool:
    return kind == "unknown" and not rules.private_channels
