"""The worker's loop: read a line, run the plugin, write the answer, on the main thread.

A plugin with coroutine handlers gets the loop of ``_aio`` instead.
"""

import os
import sys
from time import monotonic, time

from . import Cancelled, Context, _scope
from ._answer import answer_text, failure_of_load, failure_text, raised
from ._channel import Channel, Closed, exit_now
from ._deadline import Deadline
from ._frame import INVALID_PARAMS, INVALID_REQUEST, NO_METHOD, NOT_INITIALIZED, WireError
from ._json import dumps
from ._link import HostLink
from ._load import FirstRuntimePlugin, LoadFailure, add_paths, add_roots, is_declared, load

CONTRACT = 1
FEATURES = ("agent", "cancel", "clock", "db", "job", "log", "state", "step")
#: After a call this long the host may already have cancelled the calls behind it.
LONG_CALL = 0.02
#: A deadline further in the past than this means that the clocks disagree; the span counts then.
CLOCK_TRUST = 60.0


class Worker:
    """One plugin, served until the host ends it."""

    def __init__(self, source, sink, given):
        self.channel = Channel(source, sink)
        self.deadline = self.channel.waiting = Deadline()
        self.channel.on_cancel = self._cancelled
        self.given = given
        self.plugin = None
        self.name = ""
        self.link = None
        self.running = None
        #: Set when the plugin has coroutine handlers.
        self.tasks = None
        os.register_at_fork(after_in_child=self._forked)
        add_roots(given.get("root", ()))
        add_paths(given.get("path", ()))
        sys.argv = [(given.get("file") or given.get("object"))[-1]]

    # Life

    def run(self):
        """Serves until the end of the line or ``shutdown``."""
        while True:
            try:
                if self.tasks is not None:
                    self.tasks.run()
                self.serve_one()
            except (Closed, BrokenPipeError, ConnectionError):
                self.leave()
            except (Cancelled, KeyboardInterrupt):
                # A signal between two calls; there is nothing to break off.
                pass

    def serve_one(self):
        """Answers the next request."""
        self.serve(*self.channel.next_request())

    def serve(self, ident, method, params):
        """Answers one request; says nothing to a notification."""
        if method == "call" and self.link is not None:
            if ident is not None:
                self.call(ident, params)
            return
        if ident is None:
            return
        try:
            self.channel.answer(ident, self.control(ident, method, params))
        except WireError as failure:
            self.channel.fail(ident, failure)
        if method == "shutdown":
            self.leave(deactivate=False)

    def control(self, ident, method, params):
        """Answers everything that is not a call, as the text of a line."""
        if method == "initialize":
            result = self.initialize(params)
        elif method == "shutdown":
            self.deactivate()
            result = None
        elif method == "call":
            raise WireError(NOT_INITIALIZED, "not_initialized", "call came before initialize")
        else:
            raise WireError(NO_METHOD, "method.unknown", f"no method {method!r}")
        return dumps({"jsonrpc": "2.0", "id": ident, "result": result})

    def initialize(self, params):
        """Loads and activates the plugin; returns the result of the handshake."""
        if self.link is not None:
            raise WireError(INVALID_REQUEST, "wire.initialized", "initialize came twice")
        wanted, offered = _read_initialize(params)
        try:
            plugin = self.load()
            # The name is compared before any of the plugin's own start-up code runs.
            manifest = plugin.manifest
            if wanted != manifest.name:
                why = f"the plugin is {manifest.name!r}; the host asked for {wanted!r}"
                raise WireError(INVALID_PARAMS, "plugin.name.different", why)
            self.activate(plugin, params, offered)
        except LoadFailure as failure:
            raise failure_of_load(failure) from None
        features = [feature for feature in FEATURES if feature in offered]
        return {
            "contract": {"version": CONTRACT, "features": features},
            "plugin": {"name": manifest.name, "version": manifest.version},
        }

    def load(self):
        """Imports and builds the plugin."""
        if "file" in self.given:
            factory = self.given.get("attr", ["get_plugin"])[-1]
            plugin = load(("file", self.given["file"][-1]), factory)
        else:
            plugin = load(("object", self.given["object"][-1]))
        return plugin if is_declared(plugin) else FirstRuntimePlugin(plugin)

    def activate(self, plugin, params, offered):
        """Gives the plugin its context; from here on it answers calls."""
        limits = params.get("limits")
        for bound in ("frame_bytes", "depth"):
            if type(limits) is dict and type(limits.get(bound)) is int:
                setattr(self.channel, bound, limits[bound])
        link = _scope.active = HostLink(self, params, offered)
        if plugin.is_async:
            from ._aio import Tasks

            self.tasks = Tasks(self)
        try:
            waiting = plugin.activate(link)
            if waiting:
                self.tasks.finish(waiting)
        except BaseException as error:
            self.tasks = None
            raise raised(error) from None
        self.plugin, self.name, self.link = plugin, plugin.manifest.name, link
        import gc

        # What is loaded now stays; collections need not walk it again.
        gc.freeze()

    def deactivate(self):
        """Lets the plugin finish; what it raises goes to its log. Gives what is to be awaited."""
        if self.link is None:
            return []
        self.link = None
        try:
            return self.plugin.deactivate()
        except BaseException:
            import traceback

            traceback.print_exc()
            return []

    def leave(self, deactivate=True):
        """Ends the process at once, whatever threads are left."""
        if deactivate:
            self.deactivate()
        exit_now()

    def _forked(self):
        """In a child of the plugin the protocol is out of reach."""
        nothing = os.open(os.devnull, os.O_RDWR)
        os.dup2(nothing, self.channel.source, False)
        os.dup2(nothing, self.channel.sink, False)
        os.close(nothing)
        # Another thread may have held these, and the child has no other threads.
        self.channel.renew_locks()
        # The plugin belongs to the parent; the child must not finish it.
        self.link = None

    # Calls

    def call(self, ident, params):
        """Runs one hook or tool and answers."""
        deadline = self.deadline
        started = monotonic()
        try:
            try:
                handler, payload, seconds = self.find(params)
                context = None
                if handler.wants_context:
                    context = self.context(params, started + seconds)
                self.running = ident
                deadline.start(seconds, started)
                deadline.open = True
                if context is None:
                    reply = handler.run(payload)
                else:
                    reply = handler.run(payload, context)
                deadline.open = False
                deadline.at = 0.0
                text = answer_text(ident, reply)
            except BaseException as error:
                deadline.open = False
                deadline.at = 0.0
                text = failure_text(ident, error, params)
        except Cancelled as error:
            # The alarm rang a second time between the two lines above.
            deadline.open = False
            deadline.at = 0.0
            text = failure_text(ident, error)
        self.running = None
        self.channel.answer(ident, text)
        if monotonic() - started > LONG_CALL:
            self.channel.look_ahead()

    def context(self, params, due):
        """What a handler knows besides its payload."""
        return Context(self.link, params["kind"], params["name"], due, params.get("caller"))

    def find(self, params):
        """The handler, payload and time of a call."""
        try:
            kind, name, payload = params["kind"], params["name"], params["payload"]
            span, due = params["timeout_ms"] / 1000, params["deadline_unix_ms"] / 1000
        except (TypeError, KeyError):
            raise _misfit(params) from None
        if type(name) is not str or kind not in ("hook", "tool", "step"):
            raise _misfit(params)
        handler = self.plugin.find(kind, name)
        if handler is None:
            why = f"plugin {self.name!r} has no {kind} {name!r}"
            raise WireError(NO_METHOD, "method.unknown", why)
        left = due - time()
        if -CLOCK_TRUST < left < span:
            span = left
        if span <= 0:
            raise Cancelled
        return handler, payload, span if span < 1e6 else 1e6

    def _cancelled(self, ident):
        if self.channel.unqueue(ident):
            self.channel.write(failure_text(ident, Cancelled()))
        elif ident is not None and ident == self.running:
            self.deadline.withdraw()
        elif self.tasks is not None:
            self.tasks.cancel(ident)


def _misfit(params):
    needed = ("kind", "name", "payload", "timeout_ms", "deadline_unix_ms")
    missing = [key for key in needed if type(params) is not dict or key not in params]
    why = f"a call needs {', '.join(missing)}" if missing else "a call's parameters do not fit"
    return WireError(INVALID_PARAMS, "params.invalid", why)


def _read_initialize(params):
    try:
        version = params["contract"]["version"]
        offered = params["contract"].get("features") or ()
        wanted = params["plugin"]
    except (TypeError, KeyError, AttributeError):
        why = "initialize needs contract.version and plugin"
        raise WireError(INVALID_PARAMS, "params.invalid", why) from None
    if version != CONTRACT:
        why = f"this SDK speaks contract version {CONTRACT}; the host offers {version!r}"
        raise WireError(INVALID_PARAMS, "contract.version.unsupported", why)
    return wanted, frozenset(offered)
