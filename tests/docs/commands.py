"""The commands in a shell block, one by one, as a shell would split them. Nothing is run here."""

import re
import shlex
from collections.abc import Iterable, Iterator

OPERATORS = "();<>|&"
# Words that stand before a command.
BEFORE = {"do", "then", "else", "export"}


def commands(text: str) -> Iterator[list[str]]:
    """Yield the words of each command in `text`. What only a shell knows, a variable or another's output, is `x`."""
    for line in text.replace("\\\n", " ").splitlines():
        lexer = shlex.shlex(line, posix=True, punctuation_chars=OPERATORS)
        lexer.whitespace_split, lexer.commenters = True, ""
        words: list[str] = []
        for word in [*lexer, ";"]:
            if set(word) - set(OPERATORS):
                words.append(word)
            elif word not in {"<", ">"}:
                yield from _command(words)
                words = []


def of(program: str, blocks: Iterable[str]) -> list[list[str]]:
    """Return the commands of `blocks` that run `program`, each once and in order."""
    found = [words for text in blocks for words in commands(text) if words[0] == program]
    return [list(each) for each in dict.fromkeys(map(tuple, found))]


def _command(words: list[str]) -> Iterator[list[str]]:
    rest = list(words)
    while rest and (rest[0] in BEFORE or re.match(r"\w+=", rest[0])):
        rest = rest[1:]
    if rest:
        yield [re.sub(r"\$\([^)]*\)|\$\w+", "x", word) for word in rest]
