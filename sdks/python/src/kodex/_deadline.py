"""Breaking off a handler in the main thread, by a signal, at its deadline.

It protects the SDK's own code from being broken off in the middle; it cannot help against a handler
that blocks in C code or takes the signal for itself. Such a process is ended by the host.
"""

import _signal
from _thread import get_ident
from time import monotonic

from . import Cancelled

#: After the deadline, so that an answer on the last millisecond is not broken off.
GRACE = 0.05
#: A handler that goes on after the alarm is reminded this often.
REMINDER = 0.05


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

    def start(self, seconds, now):
        """The handler starts ``now`` and has so much time."""
        self.wanted = True
        self.at = now + seconds + GRACE
        # A time in the past means that the timer was never set, or that the plugin took it away.
        if not now < self.rings_at <= self.at:
            self._set(seconds + GRACE)

    def _set(self, seconds):
        self.rings_at = monotonic() + seconds
        _signal.setitimer(_signal.ITIMER_REAL, seconds, REMINDER)

    def withdraw(self):
        """Nobody wants the answer any more; the handler, which waits for the host, is told."""
        self.wanted = False

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
