"""The worker's loop: read a line, run the plugin, write the answer, on the main thread.

A plugin with coroutine handlers gets the loop of ``_aio`` instead. Deadlines of ordinary handlers
are kept by an alarm signal that raises ``Cancelled`` inside them; what blocks even that is ended by
the host.
"""

import _signal
import os
import sys
from _functools import partial
from _thread import get_ident
from time import monotonic, time

from . import Cancelled, Clock, Context, Handler, Log, ToolInputError, is_coroutine
from ._json import Unsendable, dumps
from ._load import LoadFailure, add_paths, add_roots, is_declared, load, text_of
from ._wire import (
    CANCELLED,
    INVALID_PARAMS,
    INVALID_REQUEST,
    NO_METHOD,
    NOT_INITIALIZED,
    RAISED,
    REFUSED,
    Channel,
    Closed,
    WireError,
    error_line,
    shorten,
)

CONTRACT = 1
FEATURES = ("cancel", "clock", "log")
#: After the deadline, so that an answer on the last millisecond is not broken off.
GRACE = 0.05
#: A handler that goes on after the alarm is reminded this often.
REMINDER = 0.05
#: After a call this long the host may already have cancelled the calls behind it.
LONG_CALL = 0.02
#: A deadline further in the past than this means that the clocks disagree; the span counts then.
CLOCK_TRUST = 60.0
FIELDS = 64 << 10
TRACEBACK = 8 << 10
MESSAGE = 64 << 10
#: Where the SDK's own frames of a traceback lie.
_HOME = __file__[: -len("_serve.py")]


class _Shut:
    """While it is entered, a handler in the main thread cannot be broken off."""

    def __init__(self, deadline):
        self.deadline = deadline
        self.was_open = False

    def __enter__(self):
        if self.deadline.is_mine():
            self.was_open, self.deadline.open = self.deadline.open, False

    def __exit__(self, *raised):
        if self.was_open:
            self.deadline.open = True


class Deadline:
    """Raises ``Cancelled`` in the running handler soon after its deadline.

    The timer is set anew only when it would ring too late; calls in quick succession share one, and
    one that rings between calls does nothing.
    """

    def __init__(self):
        self.at = 0.0
        self.rings_at = 0.0
        #: Whether the handler's own code runs, which may be broken off at any place.
        self.open = False
        self.wanted = True
        self.main = get_ident()
        _signal.signal(_signal.SIGALRM, self._ring)

    def is_mine(self):
        """Whether this is the main thread, the only one that signals break into."""
        return get_ident() == self.main

    def shut(self):
        """A context in which the handler cannot be broken off."""
        return _Shut(self)

    def start(self, seconds):
        """The handler starts and has so much time."""
        self.wanted = True
        self.at = monotonic() + seconds + GRACE
        if not self.rings_at or self.rings_at > self.at:
            self._set(seconds + GRACE)

    def _set(self, seconds):
        self.rings_at = monotonic() + seconds
        _signal.setitimer(_signal.ITIMER_REAL, seconds, REMINDER)

    def stop(self):
        """The handler ended."""
        self.at = 0.0

    def withdraw(self):
        """Nobody wants the answer any more."""
        self.wanted = False
        if self.open:
            raise Cancelled

    def _ring(self, signum, frame):
        if not self.at:
            self.rings_at = 0.0
            _signal.setitimer(_signal.ITIMER_REAL, 0)
            return
        left = self.at - monotonic()
        if left > 0 and self.wanted:
            self._set(left)
        elif self.open:
            raise Cancelled

    # As a context: a place inside our own code where the handler may be broken off.

    def __enter__(self):
        if self.at and self.is_mine():
            self.open = True
            if not self.wanted:
                self.open = False
                raise Cancelled

    def __exit__(self, *raised):
        if self.is_mine():
            self.open = False


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
        link = HostLink(self, params, offered)
        if plugin.is_async:
            from ._aio import Tasks

            self.tasks = Tasks(self)
        try:
            waiting = plugin.activate(link)
            if waiting:
                self.tasks.finish(waiting)
        except BaseException as error:
            self.tasks = None
            raise _raised(error) from None
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
        for stream in (sys.stdout, sys.stderr):
            try:
                stream.flush()
            except Exception:
                pass
        os._exit(0)

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
                deadline.start(seconds)
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
        return Context(self.link, params["kind"], params["name"], due)

    def find(self, params):
        """The handler, payload and time of a call."""
        try:
            kind, name, payload = params["kind"], params["name"], params["payload"]
            span, due = params["timeout_ms"] / 1000, params["deadline_unix_ms"] / 1000
        except (TypeError, KeyError):
            raise _misfit(params) from None
        if type(name) is not str or kind not in ("hook", "tool"):
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
        return handler, payload, min(span, 1e6)

    def _cancelled(self, ident):
        if self.channel.unqueue(ident):
            self.channel.write(failure_text(ident, Cancelled()))
        elif ident is not None and ident == self.running:
            self.deadline.withdraw()
        elif self.tasks is not None:
            self.tasks.cancel(ident)


class FirstRuntimePlugin:
    """A plugin in the form of the first runtime, with the doors of ``kodex.Plugin``."""

    def __init__(self, plugin):
        self.plugin = plugin
        self.manifest = plugin.manifest
        self.is_async = is_coroutine(plugin.handle_hook)

    def activate(self, link):
        """Passes the user's configuration."""
        self.plugin.activate(link.config)
        return []

    def deactivate(self):
        """The first runtime had no such step; a plugin that has the method gets it."""
        hook = getattr(self.plugin, "deactivate", None)
        done = hook() if callable(hook) else None
        return [done] if hasattr(done, "__await__") else []

    def find(self, kind, name):
        """It answers every hook and has no tools."""
        if kind != "hook":
            return None
        return Handler(partial(self.plugin.handle_hook, name), False, self.is_async)


class HostLink:
    """The plugin's way to the host."""

    def __init__(self, worker, params, offered):
        context, grants = params.get("context"), params.get("grants")
        self.worker = worker
        self.offered = offered
        self.plugin = params["plugin"]
        self.config = context if type(context) is dict else {}
        self.grants = tuple(grants) if type(grants) is list else ()
        self.log_door = Log(self)
        self.clock_door = Clock(self)

    def request(self, method, params):
        """Asks the host and waits."""
        if method == "clock/now" and "clock" not in self.offered:
            return {"unix_ms": int(time() * 1000)}
        with self.worker.deadline.shut():
            return self.worker.channel.request(method, params)

    async def request_async(self, method, params):
        """Asks the host; other calls go on meanwhile."""
        if self.worker.tasks is None:
            return self.request(method, params)
        return await self.worker.tasks.request(method, params)

    def log(self, level, message, fields):
        """Sends a line to the plugin's log."""
        message = shorten(str(message), MESSAGE)
        with self.worker.deadline.shut():
            if "log" in self.offered and self.worker.channel.pace.take():
                self.worker.channel.notify("log", _log_params(level, message, fields))
            else:
                print(f"{level}: {message}", fields or "", file=sys.stderr)


def _log_params(level, message, fields):
    params = {"level": level, "message": message}
    if fields:
        try:
            small = len(dumps(fields)) <= FIELDS
        except Unsendable:
            small = False
        if not small:
            fields = {name: shorten(repr(value), 200) for name, value in list(fields.items())[:50]}
        params["fields"] = fields
    return params


def answer_text(ident, reply):
    """The line that answers a call."""
    if reply is None:
        return '{"jsonrpc":"2.0","id":%s,"result":{}}' % _id_text(ident)
    return '{"jsonrpc":"2.0","id":%s,"result":{"reply":%s}}' % (_id_text(ident), dumps(reply))


def _id_text(ident):
    return ident if type(ident) is int else dumps(ident)


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
        failure = _raised(error)
    return error_line(ident, failure)


def failure_of_load(failure):
    """The error answer for a plugin that could not be loaded."""
    return _raised(failure.cause, failure.code, str(failure))


def _raised(error, code="plugin.raised", message=None):
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
