"""What a person wrote, as an agent should read it: Slack's own notation resolved, the mention of the bot gone."""

import re

# Slack writes <@U1>, <@U1|ada>, <#C1|general>, <!here>, <https://a.b|label>; a plain "<" comes as "&lt;".
_MARK = re.compile(r"<([@#!]?)([^<>|]{1,3000})(?:\|([^<>]{0,3000}))?>")
# All that Slack escapes; the ampersand comes last, so that nothing is resolved twice.
_ESCAPED = (("&lt;", "<"), ("&gt;", ">"), ("&amp;", "&"))
_STOP = re.compile(r"\s*stop\s*[.!]?\s*", re.IGNORECASE)


def mentions(text: str, bot: str) -> bool:
    """Whether `text` mentions the user `bot`."""
    return f"<@{bot}>" in text or f"<@{bot}|" in text


def plain(text: str, bot: str) -> str:
    """Return `text` without the mention of `bot` and without Slack's notation."""

    def resolve(mark: re.Match[str]) -> str:
        sigil, target, label = mark.groups()
        match sigil:
            case "@":
                return "" if target == bot else f"@{label or target}"
            case "#":
                return f"#{label or target}"
            case "!":
                return f"@{label or target.partition('^')[0]}".replace("@@", "@")
        return f"[{label}]({target})" if label and label not in target else target

    words = _MARK.sub(resolve, text)
    for escaped, sign in _ESCAPED:
        words = words.replace(escaped, sign)
    return words.strip()


def is_stop(text: str) -> bool:
    """Whether `text`, resolved, says `stop` and nothing else."""
    return bool(_STOP.fullmatch(text))
