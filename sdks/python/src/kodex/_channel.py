"""The two pipes of a worker: lines in, lines out, and the plugin's own requests to the host.

Nothing here knows plugins. Whoever needs a line reads it (there is no reading thread): the main
thread between calls, and any thread that waits for an answer of the host meanwhile. Exactly one of
them reads at a time; it hands what is not its own to the thread that wants it.
"""

import os
import sys
from _thread import allocate_lock
from time import monotonic

from . import HostError
from ._frame import DEPTH, FRAME_BYTES, PARSE, RAISED, WireError, error_line, parse_any, parse_call, result_of
from ._json import Unsendable, dumps, nests_deeper

CHUNK = 1 << 16
#: Requests that may wait while a handler waits for the host. The host sends far fewer at a time.
QUEUE = 1024
#: The host ends plugins that send more than 1,000 notifications a second with bursts of 2,000.
RATE = 900
BURST = 1800


class Closed(Exception):
    """The host closed the line."""


class Pace:
    """A bucket of tokens that keeps a plugin below the rate at which the host ends it."""

    def __init__(self):
        self.tokens = BURST
        self.at = monotonic()

    def take(self):
        """Takes one token if there is one."""
        now = monotonic()
        self.tokens = min(BURST, self.tokens + (now - self.at) * RATE)
        self.at = now
        if self.tokens < 1:
            return False
        self.tokens -= 1
        return True


class _Waiter:
    """A thread that wants something from the line: an answer, or (the main thread) a request."""

    __slots__ = ("done", "message", "lock", "tell")

    def __init__(self, tell=None):
        self.done = False
        self.tell = tell
        self.message = None
        self.lock = allocate_lock()
        self.lock.acquire()


class Channel:
    """The two pipes of a worker."""

    def __init__(self, source, sink):
        self.source = source
        self.sink = sink
        self.frame_bytes = FRAME_BYTES
        self.depth = DEPTH
        #: Lines that were read and not yet looked at, last first.
        self._lines = []
        self._half = b""
        self._dropping = False
        self._inbox = []
        self._answers = {}
        self._last_id = 0
        self._parked = []
        self.renew_locks()
        self._main = _Waiter()
        self.pace = Pace()
        #: Called when a request was queued by a thread that waited for something else.
        self.on_queued = lambda: None
        #: Called with the id of a request that the host no longer wants.
        self.on_cancel = lambda ident: None
        #: Wraps a wait that may be broken off by an exception; see ``Deadline``.
        self.waiting = _AsIs()

    def renew_locks(self):
        """Starts with nobody reading or writing."""
        self._reading = allocate_lock()
        self._writing = allocate_lock()

    # Writing

    def write(self, text):
        """Sends one line whole."""
        data = text.encode() + b"\n"
        with self._writing:
            n_written = os.write(self.sink, data)
            while n_written < len(data):
                n_written += os.write(self.sink, data[n_written:])

    def answer(self, ident, text):
        """Sends an answer if it keeps the bounds that the host told, and says so if not."""
        if len(text) > self.frame_bytes:
            why = f"the answer has {len(text)} bytes; at most {self.frame_bytes} are allowed"
            text = error_line(ident, WireError(RAISED, "plugin.reply.too_large", why))
        elif text.count("{") + text.count("[") > self.depth and nests_deeper(text, self.depth):
            why = f"the answer nests deeper than {self.depth} levels"
            text = error_line(ident, WireError(RAISED, "plugin.reply.too_deep", why))
        self.write(text)

    def fail(self, ident, failure):
        """Sends an error answer."""
        self.answer(ident, error_line(ident, failure))

    # Reading

    def next_request(self):
        """The next request or notification for the main thread, as ``(id, method, params)``."""
        while True:
            if self._inbox:
                found = self._inbox.pop(0)
                self._pass_on()
                return found
            if not (self._reading.acquire(False) or self._lead(self._main)):
                continue
            try:
                found = self._take_line(os.read)
            finally:
                self._reading.release()
                if self._parked:
                    self._wake_one()
            if found is not None:
                return found

    def take_all(self, block):
        """What can be had with at most one blocking read, for a loop that knows when to read."""
        found, self._inbox = self._inbox, []
        if not self._reading.acquire(False):
            return found
        try:
            while block or self._lines:
                one = self._take_line(os.read)
                if one is not None:
                    found.append(one)
                block = False
        finally:
            self._reading.release()
            self._pass_on()
        return found

    def look_ahead(self):
        """Reads what is there without waiting, so that a cancel overtakes the calls before it."""
        import select

        if self._main.done or not self._reading.acquire(False):
            return
        try:
            while self._lines or select.select([self.source], [], [], 0)[0]:
                found = self._take_line(os.read)
                if found is not None:
                    self._queue(found)
        except Closed:
            # What was sent before the end still counts; the next read meets the end again.
            pass
        finally:
            self._reading.release()
            self._wake_one()

    def _queue(self, found):
        ident, method, _ = found
        if len(self._inbox) < QUEUE:
            self._inbox.append(found)
        elif ident is not None:
            why = f"more than {QUEUE} requests wait for this plugin"
            self.fail(ident, WireError(RAISED, "plugin.queue.full", why))

    def unqueue(self, ident):
        """Drops a request that waits; says whether there was one."""
        for at, (queued, _, _) in enumerate(self._inbox):
            if queued == ident:
                del self._inbox[at]
                return True
        return False

    def _lead(self, waiter):
        """Makes this thread the reader, or parks it. False: look again whether it is served."""
        if self._reading.acquire(False):
            return True
        self._parked.append(waiter)
        if waiter.done or (waiter is self._main and self._inbox):
            lead = False
        elif self._reading.acquire(False):
            lead = True
        else:
            try:
                with self.waiting:
                    waiter.lock.acquire()
            except BaseException:
                if not self._unpark(waiter):
                    self._wake_one()
                raise
            return False
        if not self._unpark(waiter):
            # Somebody is about to wake us; take the wake-up so that it cannot come later.
            waiter.lock.acquire()
        return lead

    def _unpark(self, waiter):
        try:
            self._parked.remove(waiter)
        except ValueError:
            return False
        return True

    def _wake(self, waiter):
        if self._unpark(waiter):
            waiter.lock.release()

    def _wake_one(self):
        try:
            self._parked.pop().lock.release()
        except IndexError:
            pass

    def _pass_on(self):
        """Somebody must read while anybody waits: wakes one who can if nobody does."""
        if self._parked and not self._reading.locked():
            self._wake_one()

    def _take_line(self, read):
        """Reads one line and gives a request or notification; everything else is dealt with."""
        line = self._lines.pop() if self._lines else self._read_line(read)
        if line is None:
            return None
        try:
            if len(line) > self.frame_bytes and len(line.rstrip(b"\r\n")) > self.frame_bytes:
                raise _too_long(self.frame_bytes)
            text = line.decode()
            call = parse_call(text, self.depth)
            if call is not None:
                return call
            ident, method, params, answer = parse_any(text, self.depth)
        except UnicodeDecodeError:
            self.fail(None, WireError(PARSE, "wire.frame.syntax", "the line is no UTF-8"))
            return None
        except WireError as failure:
            self.fail(None, failure)
            return None
        if answer is not None:
            self._deliver(ident, answer)
        elif method == "$/cancel":
            if type(params) is dict:
                self.on_cancel(params.get("id"))
        else:
            return ident, method, params
        return None

    def _read_line(self, read):
        try:
            chunk = read(self.source, CHUNK)
        except BlockingIOError:
            # Only a worker with coroutines reads without blocking; another thread was faster.
            return None
        if not chunk:
            raise Closed
        if self._dropping:
            _, newline, chunk = chunk.partition(b"\n")
            self._dropping = not newline
            if not chunk:
                return None
        if not self._half and chunk.find(b"\n") == len(chunk) - 1:
            return chunk
        lines = (self._half + chunk).split(b"\n")
        self._half = lines.pop()
        # One byte more, for the carriage return that may end a line of full length.
        if len(self._half) > self.frame_bytes + 1:
            self._half = b""
            self._dropping = True
            self.fail(None, _too_long(self.frame_bytes))
        if not lines:
            return None
        lines.reverse()
        self._lines = lines
        return lines.pop()

    # Requests of the plugin

    def _deliver(self, ident, message):
        waiter = self._answers.pop(ident, None)
        if waiter is not None:
            waiter.message = message
            waiter.done = True
            if waiter.tell is not None:
                waiter.tell(message)
            self._wake(waiter)

    def request(self, method, params):
        """Asks the host and waits for its answer. Any thread may call this."""
        waiter = _Waiter()
        ident = self._ask(method, params, waiter)
        try:
            self._wait(waiter)
        except Closed:
            raise HostError("the host closed the line", "host.closed") from None
        finally:
            self.forget(ident)
            self._pass_on()
        return result_of(waiter.message)

    def ask(self, method, params, tell):
        """Sends a request and returns its id; ``tell`` gets the answer, in whatever thread."""
        return self._ask(method, params, _Waiter(tell))

    def _ask(self, method, params, waiter):
        with self._writing:
            self._last_id += 1
            ident = self._last_id
        try:
            text = dumps({"jsonrpc": "2.0", "id": ident, "method": method, "params": params})
        except Unsendable as error:
            raise ValueError(f"the parameters of {method!r} cannot be sent: {error}") from None
        if len(text) > self.frame_bytes or nests_deeper(text, self.depth):
            raise ValueError(f"the parameters of {method!r} are too large or nested too deep")
        self._answers[ident] = waiter
        self.write(text)
        return ident

    def forget(self, ident):
        """The answer to this request is no longer wanted."""
        self._answers.pop(ident, None)

    def notify(self, method, params):
        """Tells the host something."""
        self.write(dumps({"jsonrpc": "2.0", "method": method, "params": params}))

    def _wait(self, waiter):
        while not waiter.done:
            if not self._lead(waiter):
                continue
            try:
                while not waiter.done:
                    found = self._take_line(self._read_gently)
                    if found is not None:
                        self._queue(found)
                        self._wake(self._main)
                        self.on_queued()
            finally:
                self._reading.release()
                self._wake_one()

    def _read_gently(self, source, size):
        """Reads such that an exception from a signal can come while nothing has been taken."""
        import select

        poll = select.poll()
        poll.register(source, select.POLLIN)
        with self.waiting:
            poll.poll()
        return os.read(source, size)


class _AsIs:
    def __enter__(self):
        pass

    def __exit__(self, *raised):
        pass


def _too_long(limit):
    return WireError(PARSE, "wire.frame.too_long", f"the line has more than {limit} bytes")


def exit_now():
    """Ends the process at once, whatever threads are left."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except Exception:
            # The plugin may have closed it; there is nobody left to tell.
            pass
    os._exit(0)
