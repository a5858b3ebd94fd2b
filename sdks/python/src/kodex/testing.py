"""Run a plugin inside a test, without a process and without Kodex.

::

    from kodex.testing import FakeHost

    host = FakeHost(plugin, config={"org": "acme"})
    assert host.call_tool("count", {"text": "one two"}) == {"words": 2}
    assert host.logs == [("info", "counted", {"words": 2})]
    host.clock.advance(60)

Payloads and replies pass through JSON, as they do on the way to a worker, so a reply that could not
be sent fails here too. Exceptions of a handler come out as they are. Deadlines are not enforced.
"""

from __future__ import annotations

import json
from time import monotonic

from . import Clock, Context, HostError, Log
from ._json import dumps
from ._load import FirstRuntimePlugin, check, is_declared

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable

START = 1_700_000_000.0


class FakeClock:
    """A clock that stands still until it is moved."""

    def __init__(self, now: float = START):
        self.now = now

    def advance(self, seconds: float) -> None:
        """Moves the clock forward."""
        self.now += seconds


class FakeHost:
    """A host for one plugin: calls its hooks and tools and keeps what it says.

    ``plugin`` is a ``kodex.Plugin`` or an object in the form of the first Python runtime. It is
    checked and activated as a worker does it.
    """

    def __init__(
        self,
        plugin: Any,
        *,
        config: dict | None = None,
        grants: tuple[str, ...] = (),
        timeout: float = 30.0,
    ):
        check(plugin)
        self.clock = FakeClock()
        #: Every log line as ``(level, message, fields)``.
        self.logs: list[tuple[str, str, dict]] = []
        #: Every request of the plugin as ``(method, params)``.
        self.requests: list[tuple[str, Any]] = []
        self.timeout = timeout
        self._services = {"clock/now": lambda _: {"unix_ms": round(self.clock.now * 1000)}}
        self._plugin = plugin if is_declared(plugin) else FirstRuntimePlugin(plugin)
        self._link = _Link(self, plugin.manifest.name, config or {}, grants)
        self._loop = None
        self._finish(self._plugin.activate(self._link))

    def serve(self, method: str, service: Callable[[Any], Any]) -> None:
        """Answers a method of the host with a function from its parameters to its result."""
        self._services[method] = service

    def call_hook(self, name: str, payload: Any = None) -> Any:
        """Calls a hook; ``None`` when the plugin has nothing to say."""
        return self._call("hook", name, {} if payload is None else payload)

    def call_tool(self, name: str, input: Any = None) -> Any:
        """Calls a tool. Raises what it raises, ``ToolInputError`` for an input it refuses."""
        return self._call("tool", name, {} if input is None else input)

    def close(self) -> None:
        """Lets the plugin finish."""
        self._finish(self._plugin.deactivate())
        if self._loop is not None:
            self._loop.close()
            self._loop = None

    def __enter__(self) -> FakeHost:
        return self

    def __exit__(self, *raised: object) -> None:
        self.close()

    def _call(self, kind, name, payload):
        handler = self._plugin.find(kind, name)
        if handler is None:
            raise LookupError(f"plugin {self._link.plugin!r} has no {kind} {name!r}")
        arguments = [json.loads(json.dumps(payload))]
        if handler.wants_context:
            arguments.append(Context(self._link, kind, name, monotonic() + self.timeout))
        reply = handler.run(*arguments)
        if handler.is_async:
            reply = self._await(reply)
        return None if reply is None else json.loads(dumps(reply))

    def _finish(self, coroutines):
        for coroutine in coroutines:
            self._await(coroutine)

    def _await(self, coroutine):
        import asyncio

        if self._loop is None:
            self._loop = asyncio.new_event_loop()
        return self._loop.run_until_complete(coroutine)


class _Link:
    """What a context reaches its host through; the worker has one with the same methods."""

    def __init__(self, host, plugin, config, grants):
        self.host = host
        self.plugin = plugin
        self.config = config
        self.grants = tuple(grants)
        self.log_door = Log(self)
        self.clock_door = Clock(self)

    def request(self, method, params):
        self.host.requests.append((method, params))
        service = self.host._services.get(method)
        if service is None:
            raise HostError(f"the host has no method {method!r}", "host.method.unknown")
        return service(params)

    async def request_async(self, method, params):
        return self.request(method, params)

    def log(self, level, message, fields):
        self.host.logs.append((level, str(message), fields))
