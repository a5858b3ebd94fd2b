"""JSON as the wire wants it, on the C parts of the standard library alone.

``import json`` loads the regular expression engine, which takes longer than a whole handshake.
Where the C parts are missing (another Python than CPython) the ordinary module does the same work.
"""

import sys

WHITE = " \t\n\r"
#: Doubles end before 1.8e308; only a run of more digits than this can lie beyond them.
LONG_RUN = 308
_BRACKETS_ALIKE = bytes.maketrans(b"[]", b"{}")
_NEITHER_BRACKET_NOR_QUOTE = bytes(byte for byte in range(256) if byte not in b'[]{}"')
_DIGITS_TO_ZERO = bytes(48 if 48 <= byte <= 57 else byte for byte in range(256))


class Unsendable(ValueError):
    """A value that no line can carry. ``code`` is the stable code."""

    def __init__(self, message, code="plugin.reply.unserialisable"):
        super().__init__(message)
        self.code = code


def _no_constant(name):
    raise ValueError(f"{name} is not JSON")


def _no_default(value):
    raise TypeError(f"Object of type {type(value).__name__} is not JSON serializable")


class _Rules:
    strict = True
    object_hook = None
    object_pairs_hook = None
    parse_float = float
    parse_int = int
    parse_constant = staticmethod(_no_constant)


class _PairRules(_Rules):
    object_pairs_hook = list


def _with_c_parts():
    from _json import (
        encode_basestring,
        encode_basestring_ascii,
        make_encoder,
        make_scanner,
    )

    def writer(encode_text):
        open_now = {}
        encode = make_encoder(
            open_now, _no_default, encode_text, None, ":", ",", False, False, False
        )

        def dumps(value):
            try:
                return "".join(encode(value, 0))
            finally:
                # After a failure the containers that were open are still noted here.
                open_now.clear()

        if dumps([1.5, {"a": None}]) != '[1.5,{"a":null}]':
            raise ImportError("the C encoder works in an unknown way")
        return dumps

    scanners = make_scanner(_Rules), make_scanner(_PairRules)
    return (*scanners, writer(encode_basestring_ascii), writer(encode_basestring))


def _with_json():
    import json

    def writer(in_ascii):
        how = {"ensure_ascii": in_ascii, "allow_nan": False, "separators": (",", ":")}
        return json.JSONEncoder(**how).encode

    plain = json.JSONDecoder(parse_constant=_no_constant)
    pairs = json.JSONDecoder(parse_constant=_no_constant, object_pairs_hook=list)
    return plain.scan_once, pairs.scan_once, writer(True), writer(False)


try:
    scan, scan_pairs, _dumps, _dumps_unescaped = _with_c_parts()
except (ImportError, TypeError):
    scan, scan_pairs, _dumps, _dumps_unescaped = _with_json()


def loads(text):
    """Reads a whole document; raises ``ValueError`` or ``RecursionError``."""
    return _whole(scan, text)


def _scanned(scanner, text):
    try:
        return scanner(text, 0)
    except SystemError:
        # Before 3.12 the C part finds its own exception class only when this module is loaded.
        __import__("json.decoder")
        return scanner(text, 0)


def _whole(scanner, text):
    text = text.strip(WHITE)
    try:
        value, end = _scanned(scanner, text)
    except StopIteration as at:
        raise ValueError(f"expecting a value at character {at.value}") from None
    if end != len(text):
        raise ValueError(f"more text after the document at character {end}")
    return value


def loads_envelope(text):
    """Reads a document whose outermost object may hold each key only once.

    Returns a dict, or the value when it is no object.
    """
    value = loads(text)
    if type(value) is not dict:
        return value
    # Only the outermost pairs matter, so what lies inside is taken from the reading above.
    pairs = _whole(scan_pairs, text)
    if len(pairs) != len(value):
        seen = set()
        for key, _ in pairs:
            if key in seen:
                raise KeyError(key)
            seen.add(key)
    return value


def dumps(value):
    """Writes a value in ASCII, digit for digit as ``json.dumps`` does, or says why it cannot go."""
    try:
        text = _dumps(value)
    except RecursionError:
        raise Unsendable("the value is nested too deep") from None
    except (TypeError, ValueError, OverflowError) as error:
        raise Unsendable(str(error)) from None
    if "\\ud" in text and not _encodes(value) and has_lone_surrogate(text):
        raise Unsendable("a text in the value holds half of a surrogate pair")
    if len(text) > LONG_RUN and _may_overflow(text) and _overflows(value):
        raise Unsendable("a number in the value is beyond a double")
    return text


def _encodes(value):
    """Whether every text in the value is one of whole characters; quick where escapes are many."""
    try:
        _dumps_unescaped(value).encode()
    except UnicodeEncodeError:
        return False
    return True


def nests_deeper(text, limit):
    """Whether arrays and objects of a document nest deeper than ``limit`` levels.

    Most documents have fewer brackets than that in all. For the others each step below is one pass
    in C: drop the texts, keep the brackets, and take away the innermost pairs once per level.
    """
    if text.count("{") + text.count("[") <= limit:
        return False
    if "\\" in text:
        text = text.replace("\\\\", "").replace('\\"', "")
    kept = text.encode().translate(_BRACKETS_ALIKE, _NEITHER_BRACKET_NOR_QUOTE)
    # Texts without brackets are empty now; what still stands between quotes is no bracket.
    brackets = b"".join(kept.replace(b'""', b"").split(b'"')[::2])
    for _ in range(limit):
        shorter = brackets.replace(b"{}", b"")
        if len(shorter) == len(brackets):
            break
        brackets = shorter
    # What a valid document has left is deeper; what is left of another never closes.
    return brackets.count(b"{") > (0 if b"{}" in brackets else limit)


def has_lone_surrogate(text):
    """Whether an escaped half of a surrogate pair stands alone in an ASCII document."""
    at = text.find("\\")
    while at >= 0:
        step = 2
        if text.startswith("\\ud", at):
            if text[at + 3] in "cdefCDEF":
                return True
            if text[at + 3] in "89abAB":
                low = text[at + 6 : at + 10]
                if not (low.startswith("\\ud") and low[3:] in tuple("cdefCDEF")):
                    return True
                step = 12
        at = text.find("\\", at + step)
    return False


def _may_overflow(text):
    return b"0" * LONG_RUN in text.encode().translate(_DIGITS_TO_ZERO)


def _overflows(value):
    """Walks the value without recursion; a cycle cannot be here, it was written a moment ago."""
    todo = [value]
    while todo:
        item = todo.pop()
        if isinstance(item, dict):
            todo.extend(item.values())
        elif isinstance(item, (list, tuple)):
            todo.extend(item)
        elif isinstance(item, int) and abs(item) > sys.float_info.max:
            return True
    return False
