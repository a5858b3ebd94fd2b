"""The syntax of parameters, for the database of ``kodex.testing``: as the host reads it for SQLite.

``?``, ``?2``, ``$2`` and ``:name`` are parameters wherever they stand outside of texts, quoted
names and comments. It knows no grammar.
"""

import re

from . import HostError

N_PARAMS = 32_000

_TOKEN = re.compile(
    r"""(?P<blank>[\s]+|--[^\n]*|/\*.*?\*/)
    |(?P<quoted>'(?:[^']|'')*'|"(?:[^"]|"")*"|`(?:[^`]|``)*`|\[[^\]]*\])
    |(?P<number>[?$][0-9]+)
    |(?P<plain>\?)
    |(?P<name>:[A-Za-z_][A-Za-z0-9_]*)
    |(?P<end>;)
    |(?P<word>::|:=|:[0-9]\w*|[A-Za-z0-9_\x80-\U0010ffff][A-Za-z0-9_$\x80-\U0010ffff]*)
    |(?P<other>.)""",
    re.DOTALL | re.VERBOSE,
)


class Statement:
    """A statement in pieces: the texts, and between them numbers and names of parameters."""

    def __init__(self, sql):
        self.texts = [""]
        self.slots = []
        self.spans = []
        #: Where the statements of a whole file may end.
        self.ends = []
        self._begun = self._ended = False
        for found in _TOKEN.finditer(sql):
            self._take(sql, found)
        if not self._begun:
            raise mistake("the statement is empty")

    def _take(self, sql, found):
        kind, text = found.lastgroup, found.group()
        if text == "\0":
            raise mistake("a statement cannot hold a NUL character", found.start())
        if kind == "end":
            self._ended = self._begun
        elif kind != "blank":
            if self._ended:
                why = "more than one statement; send them one by one, in a transaction"
                raise mistake(why, found.start())
            self._begun = True
        if kind in ("plain", "number", "name"):
            self.slots.append(_slot(kind, text, found.start()))
            self.texts.append("")
            return
        if kind == "other":
            _refuse_unended(sql, found.start())
        self.texts[-1] += text

    def bind(self, params):
        """The text with ``?N`` and the values in that order."""
        if params is None:
            params = []
        if isinstance(params, dict):
            return self._named(params)
        if not isinstance(params, list):
            raise mistake("parameters are an array or an object")
        if any(isinstance(slot, str) for slot in self.slots):
            name = next(slot for slot in self.slots if isinstance(slot, str))
            raise mistake(f"`:{name}` needs named parameters (an object)")
        n_plain = self.slots.count(0)
        if n_plain and n_plain < len(self.slots):
            raise mistake("`?` stands beside a numbered parameter; use one of the two")
        numbers = list(range(1, n_plain + 1)) if n_plain else self.slots
        n_used = max(numbers, default=0)
        if n_used != len(params):
            why = f"the statement has {n_used} positional parameters, but {len(params)} values"
            raise mistake(f"{why} were given")
        return self._filled([f"?{number}" for number in numbers]), params

    def _named(self, params):
        names = list(dict.fromkeys(self.slots))
        if any(isinstance(name, int) for name in names):
            raise mistake("positional parameters need an array of values")
        for name in names:
            if name not in params:
                raise mistake(f"no value was given for `:{name}`")
        for name in params:
            if name not in names:
                raise mistake(f"the statement has no parameter `:{name}`")
        marks = [f"?{names.index(name) + 1}" for name in self.slots]
        return self._filled(marks), [params[name] for name in names]

    def typed(self):
        """The text with nulls for its parameters, for who wants to know the columns' types."""
        return self._filled(["NULL"] * len(self.slots))

    def _filled(self, marks):
        pairs = zip(self.texts, [*marks, ""])
        return "".join(part for pair in pairs for part in pair)


def mistake(problem, at=None):
    """What is wrong with a statement before any engine saw it."""
    place = "" if at is None else f" (character {at + 1})"
    return HostError(f"{problem}{place}", "db.statement")


def split(script):
    """The statements of a file."""
    from sqlite3 import complete_statement

    begin = 0
    for found in _TOKEN.finditer(script):
        if found.lastgroup == "end" and complete_statement(script[begin : found.end()]):
            yield script[begin : found.end()]
            begin = found.end()
    rest = script[begin:]
    if any(found.lastgroup != "blank" for found in _TOKEN.finditer(rest)):
        yield rest


def _slot(kind, text, at):
    """0 for ``?``, a number, or a name."""
    if kind == "plain":
        return 0
    if kind == "name":
        return text[1:]
    number = int(text[1:])
    if not 1 <= number <= N_PARAMS:
        raise mistake("the number of a parameter is out of range", at)
    return number


def _refuse_unended(sql, at):
    if sql[at] in "'\"`[":
        raise mistake("a quoted text has no end", at)
    if sql.startswith("/*", at):
        raise mistake("a comment has no end", at)
    if sql[at] == "$":
        raise mistake("`$` begins no parameter; write `?`, `$1` or `:name`", at)
