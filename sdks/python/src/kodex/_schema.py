"""A JSON Schema from the annotation of a tool's payload; loaded only while a plugin is inspected.

It knows what ``TypedDict`` can say with plain types and gives up (no schema: any object) on all
else, because a schema that is wrong refuses inputs that are right.
"""

import types
import typing

_PLAIN = {str: "string", int: "integer", float: "number", bool: "boolean", type(None): "null"}


def input_schema(function):
    """The schema of the first argument, or ``None`` when its annotation says too little."""
    function = getattr(function, "__func__", function)
    code = getattr(function, "__code__", None)
    if code is None or not code.co_argcount or not getattr(function, "__annotations__", None):
        return None
    try:
        hints = typing.get_type_hints(function)
        annotation = hints.get(code.co_varnames[0])
        return _schema(annotation) if _is_typed_dict(annotation) else None
    except Exception:
        return None


def _schema(kind):
    if kind in _PLAIN:
        return {"type": _PLAIN[kind]}
    if kind in (typing.Any, object):
        return {}
    if _is_typed_dict(kind):
        return _object(kind)
    origin, inside = typing.get_origin(kind), typing.get_args(kind)
    if kind is list or origin is list:
        return {"type": "array", **({"items": _schema(inside[0])} if inside else {})}
    if kind is dict or origin is dict:
        more = {"additionalProperties": _schema(inside[1])} if inside else {}
        return {"type": "object", **more}
    if origin is typing.Literal:
        return {"enum": list(inside)}
    if origin is typing.Union or origin is getattr(types, "UnionType", typing.Union):
        return {"anyOf": [_schema(one) for one in inside]}
    raise TypeError(f"no schema for {kind!r}")


def _object(kind):
    hints = typing.get_type_hints(kind)
    schema = {
        "type": "object",
        "properties": {name: _schema(hint) for name, hint in hints.items()},
        "additionalProperties": False,
    }
    needed = [name for name in hints if name in kind.__required_keys__]
    if needed:
        schema["required"] = needed
    about = kind.__doc__
    if about and "TypedDict" not in about and not about.startswith("dict("):
        schema["description"] = about.strip()
    return schema


def _is_typed_dict(kind):
    return isinstance(kind, type) and hasattr(kind, "__required_keys__")
