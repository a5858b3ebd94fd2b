"""The loop of a plugin with coroutine handlers: many calls at a time, each with its own deadline.

Ordinary functions of such a plugin run between the coroutines, as they do without them.
"""

import asyncio
import os
import sys
from contextvars import ContextVar
from time import monotonic

from . import Cancelled
from ._answer import answer_text, failure_text
from ._channel import Closed
from ._deadline import GRACE
from ._frame import result_of

#: How long running calls may take to end when the plugin is shut down.
FAREWELL = 1.0
#: Requests that may be at the host; it refuses what is beyond those that run there and wait.
REQUESTS = 256

_call = ContextVar("kodex_call", default=None)


class Tasks:
    """The running calls of one worker, on one event loop."""

    def __init__(self, worker):
        self.worker = worker
        self.channel = worker.channel
        self.loop = asyncio.new_event_loop()
        asyncio.set_event_loop(self.loop)
        self.running = {}
        self.room = asyncio.Semaphore(REQUESTS)
        self.cancelled = set()
        self.leaving = None

    def finish(self, coroutines):
        """Runs start-up coroutines to their end."""
        for coroutine in coroutines:
            self.loop.run_until_complete(coroutine)

    def run(self):
        """Serves until the worker leaves."""
        os.set_blocking(self.channel.source, False)
        self.channel.on_queued = lambda: self.loop.call_soon_threadsafe(self._drain)
        self.loop.add_reader(self.channel.source, self._readable)
        self.loop.call_soon(self._readable, False)
        self.loop.run_forever()

    def _readable(self, block=True):
        try:
            for found in self.channel.take_all(block):
                self._start(*found)
        except (Closed, ConnectionError):
            self.loop.remove_reader(self.channel.source)
            self._leave()

    def _leave(self, ident=None):
        # Kept, because the loop itself holds tasks only weakly.
        self.leaving = self.loop.create_task(self._finish(ident))

    def _drain(self):
        self._readable(False)

    def _start(self, ident, method, params):
        if method == "shutdown":
            self._leave(ident)
        elif method != "call":
            self.worker.serve(ident, method, params)
        elif ident is not None:
            self._call(ident, params)

    def _call(self, ident, params):
        try:
            handler, payload, seconds = self.worker.find(params)
        except BaseException as error:
            self.channel.answer(ident, failure_text(ident, error))
            return
        if not handler.is_async:
            self.worker.call(ident, params)
            return
        arguments = [payload]
        if handler.wants_context:
            arguments.append(self.worker.context(params, monotonic() + seconds))
        task = self.loop.create_task(self._answer(ident, params, handler.run, arguments))
        timer = self.loop.call_later(seconds + GRACE, self.cancel, ident)
        self.running[ident] = task
        task.add_done_callback(lambda _: self._ended(ident, timer))

    def _ended(self, ident, timer):
        timer.cancel()
        self.running.pop(ident, None)
        self.cancelled.discard(ident)

    async def _answer(self, ident, params, run, arguments):
        # A task has a context of its own, which goes into the threads and tasks that it starts.
        _call.set(ident)
        try:
            text = answer_text(ident, await run(*arguments))
        except asyncio.CancelledError as error:
            text = failure_text(ident, Cancelled() if ident in self.cancelled else error)
        except BaseException as error:
            text = failure_text(ident, error, params)
        self.channel.answer(ident, text)

    def call_id(self):
        """The id of the call whose task, or a thread of it, runs this."""
        ident = _call.get()
        return ident if ident in self.running else None

    def cancel(self, ident):
        """Ends one call."""
        task = self.running.get(ident)
        if task is not None:
            self.cancelled.add(ident)
            task.cancel()

    async def _finish(self, ident=None):
        """Ends the calls, lets the plugin finish, answers ``shutdown`` if it came, and leaves."""
        for running in list(self.running):
            self.cancel(running)
        if self.running:
            await asyncio.wait(list(self.running.values()), timeout=FAREWELL)
        for coroutine in self.worker.deactivate():
            try:
                await coroutine
            except Exception as error:
                print(failure_text(None, error), file=sys.stderr)
        if ident is None:
            self.worker.leave()
        self.worker.serve(ident, "shutdown", None)

    async def request(self, method, params):
        """Asks the host; the answer may be read by any thread."""
        async with self.room:
            return await self._request(method, params)

    async def _request(self, method, params):
        answer = self.loop.create_future()

        def deliver(message):
            if not answer.done():
                answer.set_result(message)

        ident = self.channel.ask(
            method, params, lambda message: self.loop.call_soon_threadsafe(deliver, message)
        )
        try:
            return result_of(await answer)
        finally:
            self.channel.forget(ident)
