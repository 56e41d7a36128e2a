"""A script of SQL taken apart, as far as comparing and running its statements one by one needs it."""

import re
from collections.abc import Iterator
from itertools import pairwise
from typing import NamedTuple

_TOKEN = re.compile(
    r"""
    (?P<comment> --[^\n]* )
    | (?P<block> /\* )
    | (?P<quoted> [eE]'(?:[^'\\]|\\.|'')*'
        | '(?:[^']|'')*'
        | "(?:[^"]|"")*"
        | \$(?P<tag>(?:[^\W\d]\w*)?)\$.*?\$(?P=tag)\$ )
    | (?P<word> \w[\w$]* )
    | (?P<space> \s+ )
    | (?P<mark> . )
    """,
    re.VERBOSE | re.DOTALL,
)
_COMMENT_EDGE = re.compile(r"/\*|\*/")


class Statement(NamedTuple):
    at: int
    """Offset in the script of its first word."""
    text: str


def split_statements(script: str) -> list[str]:
    """In order, without their semicolons; what is only space and comment is left out.

    Quotes, dollar quotes, nested comments and parentheses are understood. A function body between
    BEGIN ATOMIC and END is not: `has_atomic_body` tells.
    """
    return [statement.text for statement in locate_statements(script)]


def locate_statements(script: str) -> list[Statement]:
    """As split_statements, with where each begins."""
    found: list[Statement] = []
    begin: int | None = None
    depth = 0
    for kind, start, text in _tokens(script):
        if kind == "mark" and text in "()":
            depth = max(0, depth + (1 if text == "(" else -1))
        if kind == "mark" and text == ";" and not depth:
            found += [] if begin is None else [Statement(begin, script[begin:start].strip())]
            begin = None
        elif kind not in ("comment", "space") and begin is None:
            begin = start
    return found if begin is None else [*found, Statement(begin, script[begin:].strip())]


def without_comments(script: str) -> str:
    return "".join(text for kind, _, text in _tokens(script) if kind != "comment")


def first_words(statement: str, count: int = 2) -> str:
    """The words that it begins with, in capitals, without comments: `CREATE INDEX`."""
    words = [text.upper() for kind, _, text in _tokens(statement) if kind == "word"]
    return " ".join(words[:count])


def has_atomic_body(script: str) -> bool:
    words = [text.upper() for kind, _, text in _tokens(script) if kind == "word"]
    return ("BEGIN", "ATOMIC") in pairwise(words)


def _tokens(script: str) -> Iterator[tuple[str, int, str]]:
    """Kind, where it begins, and itself."""
    at = 0
    while match := _TOKEN.match(script, at):
        kind = match.lastgroup or ""
        end = match.end()
        if kind == "block":
            kind, end = "comment", _end_of_comment(script, end)
        yield ("quoted" if match["quoted"] else kind), at, script[at:end]
        at = end


def _end_of_comment(script: str, at: int) -> int:
    depth = 1
    for edge in _COMMENT_EDGE.finditer(script, at):
        depth += 1 if edge[0] == "/*" else -1
        if not depth:
            return edge.end()
    return len(script)
