"""What an event means: which session, which input, or why it is none. Pure; what only others know stays an open point."""

import msgspec

from schemas.inputs import Edited, Said, Stop, Withdrawn
from schemas.keys import SessionKey, ts_token
from schemas.people import Person
from services.ingress import access, text
from services.ingress.access import Actor, Kind, Rules
from services.ingress.decisions import Decision, Ignore, Place, Refuse, Store
from services.ingress.events import Callback, Event, Mention, Message, Reaction, SessionStopped, Written
from services.ingress.timing import at, untimely

STOP_REACTION = "octagonal_sign"
SPOKEN = {None, "file_share", "thread_broadcast", "me_message", "bot_message"}
NOTHING_RUNS = "There is no session in this thread to stop; say it in the thread where I work."
WELCOME = "Tell me what to do in the same message: mention me and describe the task."


def decide(call: Callback, rules: Rules, bot: str, now: float) -> Decision:
    """Return what to do about an event; `bot` is the bot as a user. Raises `InvalidKey` for what is no Slack id."""
    event = call.event
    if problem := untimely(_stamp(event), now):
        return Ignore(problem)
    case = _Case(call, rules, bot)
    match event:
        case Message():
            return case.message(event)
        case Reaction():
            return case.reaction(event)
        case SessionStopped():
            return case.stopped(event)


def _stamp(event: Event) -> str:
    if not isinstance(event, Message):
        return event.event_ts
    # What is said is named by its own time; a change of it by that of the change.
    return event.ts if event.subtype in SPOKEN else event.event_ts or event.ts


class _Case(msgspec.Struct, frozen=True):
    """One event under the rules."""

    call: Callback
    rules: Rules
    bot: str

    def message(self, event: Message) -> Decision:
        if event.subtype == "message_changed" and event.message:
            return self._changed(event, event.message)
        if event.subtype == "message_deleted" and event.deleted_ts:
            return self._deleted(event, event.deleted_ts)
        sender = event.user or event.bot_id
        if problem := self._unheard(event):
            return Ignore(problem)
        return self._said(event, sender) if sender else Ignore("nobody")

    def reaction(self, event: Reaction) -> Decision:
        item = event.item
        if event.reaction != STOP_REACTION or item.channel is None or item.ts is None:
            return Ignore("reaction")
        if event.user == self.bot:
            return Ignore("own")
        place = Place(channel=item.channel, user=event.user)
        return msgspec.structs.replace(self._stop(place, item.ts, event.event_ts), find_thread=True)

    def stopped(self, event: SessionStopped) -> Decision:
        if event.user is None:
            return Ignore("nobody")
        place = Place(channel=event.channel, user=event.user, thread_ts=event.thread_ts)
        return self._stop(place, event.thread_ts, event.event_ts)

    def _unheard(self, event: Message) -> str:
        """Why nobody listens to the message, empty when somebody does."""
        if event.subtype not in SPOKEN:
            return "subtype"
        if self._own(event):
            return "own"
        if event.bot_id or event.subtype == "bot_message":
            known = {event.bot_id, event.app_id, event.user} & set(self.rules.bots)
            return "" if known else "bot"
        team = event.user_team or event.source_team or event.team
        home = {self.call.team, self.call.team_id}
        outside = self.call.is_ext_shared_channel and team not in home
        return "outsider" if outside and not access.outsider_allowed(self.rules, team or "") else ""

    def _said(self, event: Message, sender: str) -> Decision:
        raw = event.text or ""
        kind = access.kind_of(event.channel, event.channel_type)
        addressed = kind == "direct" or isinstance(event, Mention) or text.mentions(raw, self.bot)
        if not addressed and event.thread_ts is None:
            return Ignore("not_addressed")
        words = text.plain(raw, self.bot)
        place = Place(channel=event.channel, user=sender, thread_ts=event.thread_ts)
        thread = event.thread_ts or event.ts
        if text.is_stop(words):
            stop = self._stop(place, thread, event.ts, kind)
            return msgspec.structs.replace(stop, otherwise=NOTHING_RUNS if addressed else "")
        id_ = ts_token(event.ts)
        if not words and not event.files:
            if not addressed:
                return Ignore("empty")
            sentence = self._refusal(place, kind) or WELCOME
            return Refuse(reason="empty", sentence=sentence, place=place, id=id_)
        return Store(
            key=SessionKey.of_thread(self.call.team, event.channel, thread),
            message=Said(id=id_, user=Person(id=sender), at=at(event.ts), text=words),
            id=id_,
            place=place,
            attached=event.files or (),
            only_in_session=not addressed,
            check_private=self._private_unknown(kind),
            refusal=self._refusal(place, kind),
        )

    def _changed(self, event: Message, new: Written) -> Decision:
        if new.subtype == "tombstone":
            return self._deleted(event, new.ts)
        before = event.previous_message
        if self._own(new) or new.bot_id or new.user is None:
            return Ignore("own_or_bot_changed")
        if before and before.text == new.text:
            return Ignore("unchanged")
        place = Place(channel=event.channel, user=new.user, thread_ts=new.thread_ts)
        if self._refusal(place, access.kind_of(event.channel, event.channel_type)):
            return Ignore("refused_edit")
        stamp, of = _stamp(event), ts_token(new.ts)
        id_ = f"e-{of}-{ts_token(stamp)}"
        words = text.plain(new.text or "", self.bot)
        return Store(
            key=SessionKey.of_thread(self.call.team, event.channel, new.thread_ts or new.ts),
            message=Edited(id=id_, user=Person(id=new.user), at=at(stamp), of=of, text=words),
            id=id_,
            place=place,
            only_in_session=True,
            check_outsider=self.call.is_ext_shared_channel,
        )

    def _deleted(self, event: Message, ts: str) -> Decision:
        before = event.previous_message
        if before is None or before.user is None or before.bot_id or self._own(before):
            return Ignore("own_or_bot_deleted")
        of = ts_token(ts)
        person = Person(id=before.user)
        return Store(
            key=SessionKey.of_thread(self.call.team, event.channel, before.thread_ts or ts),
            message=Withdrawn(id=f"d-{of}", user=person, at=at(_stamp(event)), of=of),
            id=f"d-{of}",
            place=Place(channel=event.channel, user=before.user, thread_ts=before.thread_ts),
            only_in_session=True,
        )

    def _stop(self, place: Place, ts: str, stamp: str, kind: Kind | None = None) -> Store:
        kind = kind or access.kind_of(place.channel, None)
        return Store(
            key=SessionKey.of_thread(self.call.team, place.channel, ts),
            message=Stop(user=Person(id=place.user), at=at(stamp)),
            id=f"s-{ts_token(stamp)}",
            place=place,
            only_in_session=True,
            check_outsider=self.call.is_ext_shared_channel,
            check_private=self._private_unknown(kind),
            refusal=self._refusal(place, kind),
        )

    def _own(self, message: Message | Written) -> bool:
        ours = self.call.api_app_id
        return message.user == self.bot or (bool(ours) and message.app_id == ours)

    def _refusal(self, place: Place, kind: Kind) -> str:
        actor = Actor(user=place.user, channel=place.channel, team=self.call.team, kind=kind)
        return access.refusal(self.rules, actor)

    def _private_unknown(self, kind: Kind) -> bool:
        return kind == "unknown" and not self.rules.private_channels
