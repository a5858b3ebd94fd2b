"""Run a plugin inside a test, without a process and without Kodex.

::

    from kodex.testing import FakeHost

    host = FakeHost(plugin, config={"org": "acme"})
    assert host.call_tool("count", {"text": "one two"}) == {"words": 2}
    assert host.logs == [("info", "counted", {"words": 2})]
    host.clock.advance(60)

Payloads and replies pass through JSON, as they do on the way to a worker, so a reply that could not
be sent fails here too. Exceptions of a handler come out as they are. Deadlines are not enforced.

A plugin with a database names its folder of migrations and gets SQLite in memory::

    host = FakeHost(plugin, migrations="migrations")
    host.db.execute("INSERT INTO notes (text) VALUES (?)", ["buy milk"])
    assert host.call_tool("find", {"word": "milk"}) == ["buy milk"]

Data steps run where they stand in the journal. To test one, stop before it, write old rows, go on::

    host = FakeHost(plugin, migrations="migrations", upto=2)
    host.db.execute("INSERT INTO notes ...")
    assert host.upgrade() == {"0003_backfill": {"migrated": 1}}

Heartbeats and jobs happen when the test says so, and no agent is run::

    assert host.beat() == {"n_started": 1}
    host.runs[0].complete()
    host.run_jobs()
    assert host.jobs[0].effects == {"sent": True}
"""

from __future__ import annotations

import json
from time import monotonic

from . import Clock, Context, HostError, Log, _scope
from ._json import dumps
from ._load import FirstRuntimePlugin, check, is_declared

TYPE_CHECKING = False
if TYPE_CHECKING:
    from os import PathLike
    from typing import Any, Callable

    from ._db import Db
    from ._fake_work import FakeJob, FakeRun
    from ._state import State

#: The kinds of places that runs may answer to.
DESTINATIONS = ("session", "file", "webhook", "command")
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
        migrations: str | PathLike | None = None,
        upto: int | None = None,
        destinations: tuple[str, ...] = DESTINATIONS,
    ):
        check(plugin)
        self.clock = FakeClock()
        #: Every log line as ``(level, message, fields)``.
        self.logs: list[tuple[str, str, dict]] = []
        #: Every request of the plugin as ``(method, params)``.
        self.requests: list[tuple[str, Any]] = []
        self.timeout = timeout
        #: What data steps saved last, by name.
        self.progress: dict[str, Any] = {}
        self._plugin = plugin if is_declared(plugin) else FirstRuntimePlugin(plugin)
        self._link = _scope.active = _Link(self, plugin.manifest.name, config or {}, grants)
        self._loop = None
        self._database = None
        self._journal = []
        self._upto = upto
        self._services = self._own_services(plugin.manifest.name, migrations, destinations)
        self._run_sql()
        self._finish(self._plugin.activate(self._link))
        self.upgrade(upto)

    @property
    def db(self) -> Db:
        """The plugin's database, for the test; ``migrations`` must have been given."""
        from ._db import Db

        return Db(self._link)

    @property
    def state(self) -> State:
        """The plugin's values, for the test."""
        from ._state import State

        return State(self._link)

    def upgrade(self, upto: int | None = None) -> dict[str, dict]:
        """Runs the rest of the journal, up to a number; gives the counters of its data steps."""
        counts = {}
        self._upto = upto
        self._run_sql()
        while self._is_wanted():
            _, name, _, _ = self._journal[0]
            counts[name] = self.run_step(name, self.progress.get(name))
            self._journal.pop(0)
            self._run_sql()
        return counts

    def run_step(self, name: str, progress: Any = None) -> dict:
        """Runs a data step as after an interruption with this progress; gives its counters."""
        return self._call("step", name, {"progress": progress}) or {}

    def serve(self, method: str, service: Callable[[Any], Any]) -> None:
        """Answers a method of the host with a function from its parameters to its result."""
        self._services[method] = service

    def call_hook(self, name: str, payload: Any = None) -> Any:
        """Calls a hook; ``None`` when the plugin has nothing to say."""
        return self._call("hook", name, {} if payload is None else payload)

    def call_tool(self, name: str, input: Any = None, *, caller: dict | None = None) -> Any:
        """Calls a tool. Raises what it raises, ``ToolInputError`` for an input it refuses.

        ``caller`` is who calls and from where, which the tool finds as ``ctx.caller``.
        """
        return self._call("tool", name, {} if input is None else input, caller)

    @property
    def runs(self) -> list[FakeRun]:
        """The agent runs that the plugin asked for, the oldest first."""
        return list(self._work.runs.values())

    @property
    def jobs(self) -> list[FakeJob]:
        """The plugin's jobs, the oldest first."""
        return list(self._work.jobs.values())

    def beat(self) -> Any:
        """Calls the hook ``heartbeat`` with a ticket; gives the reply."""
        ticket = self._work.issue()
        try:
            payload = {"now_unix_ms": round(self.clock.now * 1000), "ticket": ticket}
            return self._call("hook", "heartbeat", payload)
        finally:
            self._work.end(ticket)

    def run_jobs(self) -> list[FakeJob]:
        """Runs the jobs that are due, those that they add too; gives them in order.

        One that raises keeps that in ``raised`` and is due again after a pause on ``host.clock``,
        until its attempts are used up.
        """
        done = []
        while (job := self._work.due()) is not None:
            done.append(job)
            try:
                self._attempt(job)
            except Exception:
                # It stands in the job, as with a host.
                pass
        return done

    def call_job(self, name: str, params: Any = None, *, session: dict | None = None) -> Any:
        """Adds a job and makes its first attempt; gives its result, or raises what it raises."""
        asked = {"name": name, "params": json.loads(dumps(params))}
        id = self._work.id_of(name, None)
        job = self._work.jobs[id] = self._work.job(id, asked)
        return self._attempt(job, session)

    def close(self) -> None:
        """Lets the plugin finish."""
        self._finish(self._plugin.deactivate())
        if _scope.active is self._link:
            _scope.active = None
        if self._database is not None:
            self._database.close()
        if self._loop is not None:
            self._loop.close()
            self._loop = None

    def __enter__(self) -> FakeHost:
        return self

    def __exit__(self, *raised: object) -> None:
        self.close()

    def _own_services(self, plugin, migrations, destinations):
        from ._fake_state import FakeValues
        from ._fake_work import FakeWork

        self._work = FakeWork(plugin, self.clock, self._has_job, destinations)
        services = {
            "clock/now": lambda _: {"unix_ms": round(self.clock.now * 1000)},
            "step/progress": self._save_progress,
            **FakeValues(plugin, self.clock).services(),
            **self._work.services(),
        }
        if migrations is not None:
            from ._fake_db import FakeDatabase, read_journal

            self._database = FakeDatabase(plugin, self.clock)
            self._journal = read_journal(migrations)
            services.update(self._database.services())
        return services

    def _has_job(self, name):
        """Whether a function was declared for the job; what answers every hook is not asked."""
        found = self._plugin.find("hook", f"job.{name}")
        return found is not None and found is not self._plugin.find("hook", "*")

    def _attempt(self, job, session=None):
        call = self._work.begin(job, session)
        try:
            result = self._call("hook", f"job.{job.name}", call)
        except BaseException as error:
            self._work.fail(job, error)
            raise
        finally:
            self._work.end(call["ticket"])
        self._work.succeed(job, result)
        return result

    def _save_progress(self, params):
        if self._link.step is None:
            raise HostError("there is no data step that could have progress", "step.outside")
        self.progress[self._link.step] = params["progress"]

    def _is_wanted(self):
        return bool(self._journal) and (self._upto is None or self._journal[0][0] <= self._upto)

    def _run_sql(self):
        """Runs the files that stand before the next data step."""
        while self._is_wanted() and not self._journal[0][3]:
            _, _, text, _ = self._journal.pop(0)
            self._database.migrate(text)

    def _call(self, kind, name, payload, caller=None):
        before, _scope.active = _scope.active, self._link
        self._link.n_calls += 1
        self._link.call, self._link.step = self._link.n_calls, name if kind == "step" else None
        try:
            return self._answer(kind, name, payload, caller)
        finally:
            if self._database is not None:
                self._database.end_call(self._link.call)
            self._link.call = self._link.step = None
            _scope.active = before

    def _answer(self, kind, name, payload, caller):
        handler = self._plugin.find(kind, name)
        if handler is None:
            raise LookupError(f"plugin {self._link.plugin!r} has no {kind} {name!r}")
        arguments = [json.loads(json.dumps(payload))]
        if handler.wants_context:
            due = monotonic() + self.timeout
            caller = json.loads(json.dumps(caller))
            arguments.append(Context(self._link, kind, name, due, caller))
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
        self.n_calls = 0
        #: The call that is being answered, and the data step, if it is one.
        self.call = None
        self.step = None

    def call_id(self):
        return self.call

    def request(self, method, params):
        params = json.loads(dumps(params))
        self.host.requests.append((method, params))
        service = self.host._services.get(method)
        if service is None and method.startswith("db/"):
            why = f"plugin {self.plugin} has no database; give FakeHost its folder of migrations"
            raise HostError(why, "db.undeclared")
        if service is None:
            raise HostError(f"the host has no method {method!r}", "host.method.unknown")
        return json.loads(dumps(service(params)))

    async def request_async(self, method, params):
        return self.request(method, params)

    def log(self, level, message, fields):
        self.host.logs.append((level, str(message), fields))
