"""What a call's end becomes on the wire: a reply, nothing, or one of the ways to fail."""

from . import Cancelled, ToolInputError
from ._frame import CANCELLED, RAISED, REFUSED, WireError, error_line, shorten
from ._json import Unsendable, dumps
from ._load import text_of

TRACEBACK = 8 << 10
MESSAGE = 64 << 10
#: Where the SDK's own frames of a traceback lie.
_HOME = __file__[: -len("_answer.py")]


def answer_text(ident, reply):
    """The line that answers a call."""
    if type(ident) is not int:
        ident = dumps(ident)
    if reply is None:
        return f'{{"jsonrpc":"2.0","id":{ident},"result":{{}}}}'
    return f'{{"jsonrpc":"2.0","id":{ident},"result":{{"reply":{dumps(reply)}}}}}'


def failure_text(ident, error, params=None):
    """The line that answers a call with what its handler raised."""
    if isinstance(error, WireError):
        failure = error
    elif isinstance(error, Cancelled):
        failure = WireError(CANCELLED, "call.cancelled", "the call was cancelled")
    elif isinstance(error, ToolInputError) and params["kind"] == "tool":
        failure = WireError(REFUSED, "tool.input.refused", shorten(text_of(error), MESSAGE))
    elif isinstance(error, Unsendable):
        why = f"the reply cannot be sent: {error}"
        failure = WireError(RAISED, error.code, shorten(why, MESSAGE))
    else:
        failure = raised(error)
    return error_line(ident, failure)


def failure_of_load(failure):
    """The error answer for a plugin that could not be loaded."""
    return raised(failure.cause, failure.code, str(failure))


def raised(error, code="plugin.raised", message=None):
    """What an exception of the plugin's code becomes."""
    if message is None:
        message = text_of(error)
    trace = traceback_of(error) if error is not None else None
    return WireError(RAISED, code, shorten(message, MESSAGE), trace)


def traceback_of(error):
    """The end of an exception's traceback, for the plugin's author."""
    import traceback

    try:
        frames = error.__traceback__
        while frames is not None and frames.tb_frame.f_code.co_filename.startswith(_HOME):
            frames = frames.tb_next
        lines = traceback.format_exception(type(error), error, frames, limit=-40)
        text = shorten("".join(lines), 1 << 20)
    except Exception:
        return None
    return text if len(text) <= TRACEBACK else "...\n" + text[4 - TRACEBACK :]
