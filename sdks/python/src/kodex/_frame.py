"""One line of the wire: from text to request, notification or answer, and back.

Nothing here reads, writes or knows plugins. What is refused is refused with the numbers and codes
of ``contract/WIRE.md``.
"""

from . import HostError, host_error
from ._json import WHITE, dumps, loads_envelope, nests_deeper, scan

FRAME_BYTES = 1 << 20
DEPTH = 64
ID_BYTES = 64
ID_END = 1 << 64

PARSE = -32700
INVALID_REQUEST = -32600
NO_METHOD = -32601
INVALID_PARAMS = -32602
RAISED = -32000
REFUSED = -32001
CANCELLED = -32002
NOT_INITIALIZED = -32003

_ENVELOPE = {"jsonrpc", "id", "method", "params", "result", "error"}
_HEAD = '{"jsonrpc":"2.0","id":'
_CALL = ',"method":"call","params":'
_AFTER_HEAD = len(_HEAD)
_AFTER_CALL = len(_CALL)
#: Behind the head stand at most the twenty digits of an id.
_CALL_END = _AFTER_HEAD + 20 + _AFTER_CALL


class WireError(Exception):
    """A failure with its JSON-RPC number, its stable code and a text for people."""

    def __init__(self, number, code, message, traceback=None):
        super().__init__(message)
        self.number = number
        self.code = code
        self.message = message
        self.traceback = traceback


def parse(text, depth=DEPTH):
    """One line as ``(id, method, params, answer)``.

    A request has id and method, a notification no id, an answer no method; ``answer`` is then the
    whole message. Raises ``WireError``.
    """
    call = parse_call(text, depth)
    return parse_any(text, depth) if call is None else (*call, None)


def parse_any(text, depth):
    """One line of any form, as ``parse`` gives it."""
    try:
        if nests_deeper(text, depth):
            raise WireError(PARSE, "wire.frame.too_deep", f"the line nests deeper than {depth}")
        message = loads_envelope(text)
    except (ValueError, RecursionError) as error:
        raise WireError(PARSE, "wire.frame.syntax", f"the line is no JSON: {error}") from None
    except KeyError as error:
        raise _no_message(f"the key {error} stands twice") from None
    return _check_envelope(message)


def parse_call(text, depth):
    """The form in which the host writes a call, read in one step, as ``(id, "call", params)``;
    ``None`` for any other line.

    It is as strict as the general way: head, number and tail are compared character by character,
    so nothing can stand twice or beside them.
    """
    at = text.find(_CALL, _AFTER_HEAD, _CALL_END)
    if at < 0 or not text.startswith(_HEAD):
        return None
    digits = text[_AFTER_HEAD:at]
    if not (digits.isdigit() and digits.isascii()) or (digits[0] == "0" and digits != "0"):
        return None
    # Almost every line has fewer brackets in all than may nest.
    if text.count("{") + text.count("[") > depth and nests_deeper(text, depth):
        return None
    try:
        params, end = scan(text, at + _AFTER_CALL)
    except (ValueError, StopIteration, RecursionError, SystemError):
        # The general way finds out what is wrong.
        return None
    tail = text[end:]
    if tail != "}\n" and tail.rstrip(WHITE) != "}":
        return None
    ident = int(digits)
    return (ident, "call", params) if ident < ID_END else None


def _no_message(why):
    return WireError(INVALID_REQUEST, "wire.frame.envelope", f"no JSON-RPC 2.0 message: {why}")


def _check_envelope(message):
    if type(message) is not dict:
        raise _no_message("the line holds no object")
    if message.get("jsonrpc") != "2.0":
        raise _no_message('"jsonrpc" must be "2.0"')
    if not _ENVELOPE.issuperset(message):
        raise _no_message(f"unknown key {min(set(message) - _ENVELOPE)!r}")
    ident = message.get("id")
    if not _is_id(ident):
        raise _no_message(f'"id" must be a whole number or a text of at most {ID_BYTES} bytes')
    method = message.get("method")
    outcomes = ("result" in message) + (message.get("error") is not None)
    if method is None:
        if ident is None or outcomes != 1 or "params" in message:
            raise _no_message("it needs a method, or an id with either a result or an error")
        return ident, None, None, message
    if type(method) is not str or outcomes:
        raise _no_message('"method" must be a text and excludes "result" and "error"')
    return ident, method, message.get("params"), None


def _is_id(ident):
    if ident is None:
        return True
    if type(ident) is int:
        return 0 <= ident < ID_END
    return type(ident) is str and len(ident.encode("utf-8", "replace")) <= ID_BYTES


def error_line(ident, failure):
    """The answer that reports a failure."""
    details = {"code": failure.code}
    if failure.traceback:
        details["traceback"] = failure.traceback
    error = {"code": failure.number, "message": failure.message, "data": details}
    return dumps({"jsonrpc": "2.0", "id": ident, "error": error})


def result_of(message):
    """The result in an answer of the host; raises ``HostError`` for an error."""
    error = message.get("error")
    if error is None:
        return message.get("result")
    if type(error) is not dict:
        raise HostError("the host answered with a malformed error")
    details = error.get("data")
    code = details.get("code") if type(details) is dict else None
    raise host_error(str(error.get("message", "")), code or "host.failed")


def shorten(text, size):
    """The text, cut to at most ``size`` characters and fit to be sent."""
    text = text.encode("utf-8", "backslashreplace").decode()
    return text if len(text) <= size else text[: size - 3] + "..."
