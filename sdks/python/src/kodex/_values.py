"""Values between Python and a database, through the tagged JSON of the contract.

A value that would arrive as something else than it is is refused here, with what to do about it.
"""

from __future__ import annotations

from binascii import a2b_base64, b2a_base64

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

#: Up to here every reader of JSON has whole numbers exactly.
EXACT = 1 << 53
INTEGERS = 1 << 63
_PLAIN = (type(None), bool, str)
_INSTANTS = ("timestamptz", "timestamp with time zone")


class Json:
    """Marks a parameter as a JSON document: ``Json([1, 2])`` for a ``jsonb`` column of Postgres.

    A dict is one without being marked. A list that is not marked is an array.
    """

    __slots__ = ("document",)

    def __init__(self, document: Any):
        self.document = document

    def __repr__(self) -> str:
        return f"Json({self.document!r})"


def parameters(given):
    """The parameters of a statement as JSON: an array, or an object for named ones."""
    if isinstance(given, dict):
        for name in given:
            if not isinstance(name, str):
                raise TypeError(f"the name of a parameter is a text, not {name!r}")
        return {name: _sent(value, f":{name}") for name, value in given.items()}
    if isinstance(given, (list, tuple)):
        return [_sent(value, number) for number, value in enumerate(given, 1)]
    kind = type(given).__name__
    raise TypeError(f"parameters are a list, a tuple or a dict, not {kind}; write (value,) for one")


def _sent(value, place):
    try:
        return to_wire(value)
    except (TypeError, ValueError) as error:
        raise type(error)(f"parameter {place}: {error}") from None


def to_wire(value):
    """A parameter as JSON."""
    if type(value) in _PLAIN:
        return value
    if isinstance(value, bool):
        return bool(value)
    if isinstance(value, int):
        return _whole(int(value))
    if isinstance(value, float):
        return _float(float(value))
    if isinstance(value, (bytes, bytearray, memoryview)):
        return {"$bytes": b2a_base64(bytes(value), newline=False).decode()}
    if isinstance(value, Json):
        return {"$json": value.document}
    if isinstance(value, dict):
        return {"$json": value}
    if isinstance(value, (list, tuple)):
        return [to_wire(item) for item in value]
    if isinstance(value, str):
        return str.__str__(value)
    return _rarer(value)


def _whole(value):
    if -EXACT <= value <= EXACT:
        return value
    # Beyond 64 bits there is no integer in any engine, but there are decimals.
    tag = "$int" if -INTEGERS <= value < INTEGERS else "$numeric"
    return {tag: str(value)}


def _float(value):
    if value - value == 0:
        return value
    return {"$float": "NaN" if value != value else "Infinity" if value > 0 else "-Infinity"}


def _rarer(value):
    # Who has such a value has loaded the module already.
    from datetime import date, datetime, time
    from decimal import Decimal

    if isinstance(value, Decimal):
        if not value.is_finite():
            raise ValueError(f"the decimal {value} is no number; send a float for it")
        return {"$numeric": str(value)}
    if isinstance(value, datetime):
        return _instant(value)
    if isinstance(value, (date, time)):
        return value.isoformat()
    if type(value).__name__ == "UUID" and type(value).__module__ == "uuid":
        return str(value)
    known = "None, bool, int, float, str, bytes, Decimal, datetime, date, time, UUID, dict and list"
    raise TypeError(f"a {type(value).__name__} cannot be sent; there are {known}")


def _instant(value):
    from datetime import timezone

    if value.utcoffset() is None:
        why = "give it one, for example datetime.now(timezone.utc)"
        raise ValueError(f"the datetime {value.isoformat()} has no time zone; {why}")
    # All of one width, so that they sort as texts do.
    return value.astimezone(timezone.utc).isoformat(timespec="microseconds")[:26] + "Z"


def from_wire(value, kind):
    """A value of a row; ``kind`` is the type of its column."""
    if type(value) is str:
        return _read_instant(value) if kind in _INSTANTS else value
    if type(value) is dict:
        return _tagged(value)
    if type(value) is list:
        return [from_wire(item, kind[:-2] if kind.endswith("[]") else "") for item in value]
    return value


def _tagged(value):
    ((tag, inner),) = value.items()
    if tag == "$json":
        return inner
    if tag == "$int":
        return int(inner)
    if tag == "$bytes":
        return a2b_base64(inner)
    if tag == "$float":
        return float(inner)
    if tag == "$numeric":
        from decimal import Decimal

        return Decimal(inner)
    raise ValueError(f"the host sent a value with the unknown tag {tag!r}")


def _read_instant(text):
    """An aware datetime, or the text where it is none (``infinity``, years before 1)."""
    from datetime import datetime, timezone

    moment, offset = text, ""
    if text[-1:] in ("Z", "z"):
        moment = text[:-1]
    elif len(text) > 6 and text[-6] in "+-" and text[-3] == ":":
        moment, offset = text[:-6], text[-6:]
    whole, point, fraction = moment.partition(".")
    try:
        # Before 3.11 a fraction has three or six digits.
        read = datetime.fromisoformat(
            whole + point + (fraction + "000000")[: 6 * len(point)] + offset
        )
    except ValueError:
        return text
    # SQLite's own functions write no offset; they mean UTC.
    return read if read.tzinfo else read.replace(tzinfo=timezone.utc)
