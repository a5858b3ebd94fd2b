"""The inspector: imports plugins one after another and says what each declares.

One process looks at many files. What a file does to the process (an exit, a hang, a crash) is the
host's to notice and to attribute.
"""

import gc
import os
import sys

from ._answer import failure_of_load
from ._channel import Channel, Closed, exit_now
from ._frame import INVALID_PARAMS, NO_METHOD, WireError
from ._json import dumps
from ._load import LoadFailure, add_paths, is_declared, load, module_name, text_of


class Inspector:
    """Answers ``inspect`` until the end of the line."""

    def __init__(self, source, sink, given):
        self.channel = Channel(source, sink)
        self.path = list(sys.path)
        # What plugins leave behind only grows; looking through it for cycles again and again would
        # take a tenth of the time.
        gc.set_threshold(100_000)
        sys.argv = [""]

    def run(self):
        """Serves until the end of the line or ``shutdown``."""
        try:
            while self.serve_one():
                pass
        except (Closed, ConnectionError):
            pass
        exit_now()

    def serve_one(self):
        """Answers one request; false after ``shutdown``."""
        ident, method, params = self.channel.next_request()
        if ident is None:
            return True
        try:
            if method == "inspect":
                result = self.inspect(params)
            elif method == "shutdown":
                result = None
            else:
                raise WireError(NO_METHOD, "method.unknown", f"no method {method!r}")
            self.channel.answer(ident, dumps({"jsonrpc": "2.0", "id": ident, "result": result}))
        except WireError as failure:
            self.channel.fail(ident, failure)
        except ValueError as error:
            self.channel.fail(ident, WireError(INVALID_PARAMS, "load.python.invalid", str(error)))
        return method != "shutdown"

    def inspect(self, params):
        """Imports, builds and, as the first runtime did, activates one plugin."""
        kind, place, path, context = _read_params(params)
        by_name = params.get("contexts")
        by_name = by_name if type(by_name) is dict else {}
        add_paths(path)
        try:
            plugin = load((kind, place))
            if is_declared(plugin):
                declared = plugin.declaration()
            else:
                name = plugin.manifest.name
                _activate(plugin, by_name.get(name, context))
                declared = _declared_by(name, plugin.manifest)
        except LoadFailure as failure:
            raise failure_of_load(failure) from None
        finally:
            sys.path[:] = self.path
            # What the plugin file imported stays, as it did in the first runtime.
            sys.modules.pop(module_name(place), None)
        entry = os.path.basename(place) if kind == "file" else place
        return {"manifest": {**declared, "run": {"kind": "python", "entry": entry}}}


def _activate(plugin, context):
    try:
        plugin.activate(context)
    except BaseException as error:
        raise LoadFailure("load.python.activate_failed", text_of(error), error) from None


def _declared_by(name, manifest):
    """What a plugin of the first runtime amounts to: an identity that answers every hook.

    Activation may change the manifest, and the first runtime listed what it then said; it knew the
    plugin by the name from before.
    """
    own = {
        "name": name,
        "version": manifest.version,
        "description": manifest.description,
        "capabilities": list(manifest.capabilities),
    }
    return {"manifest": 1, "plugin": own, "hook": [{"on": "*"}]}


def _read_params(params):
    params = params if type(params) is dict else {}
    source, context = params.get("source"), params.get("context")
    if type(source) is dict and (context is None or type(context) is dict):
        path = source.get("path") or []
        for kind in ("file", "object"):
            if type(source.get(kind)) is str and type(path) is list:
                return kind, source[kind], path, context or {}
    why = 'inspect needs source with "file" or "object", and a context that is an object'
    raise WireError(INVALID_PARAMS, "params.invalid", why)
