"""Write a Kodex plugin in Python.

A plugin is one object with functions on it::

    import kodex

    plugin = kodex.Plugin("word-count", "0.1.0", "Counts words.")

    @plugin.tool("count", description="Counts the words of a text.")
    def count(input):
        return {"words": len(input["text"].split())}

Handlers take the payload, or the payload and a ``Context``. They may be ``async def``; then many
calls run at the same time. ``kodex.testing`` runs a plugin inside a test.
"""

from __future__ import annotations

from time import monotonic

from kodex_plugin_system.base import PluginManifest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, Iterable, TypeVar

    from ._db import AsyncDb, AsyncTransaction, Db, Row, Rows, Transaction, db
    from ._session import Session
    from ._state import AsyncState, Entry, Key, Lease, State, state
    from ._step import Step
    from ._values import Json
    from ._work import Accepted, Agent, AsyncAgent, AsyncJobs, Beat, Destination, Effect, Job, Jobs
    from ._work import Projection, agent, jobs

    Function = TypeVar("Function", bound=Callable[..., Any])

__version__ = "0.1.0"
__all__ = [
    "Accepted",
    "Agent",
    "AsyncAgent",
    "AsyncDb",
    "AsyncJobs",
    "AsyncState",
    "AsyncTransaction",
    "Beat",
    "Cancelled",
    "Context",
    "Db",
    "DbConflict",
    "DbConstraint",
    "Destination",
    "Effect",
    "Entry",
    "HostError",
    "Job",
    "Jobs",
    "Json",
    "Key",
    "Lease",
    "LeaseLost",
    "Plugin",
    "Projection",
    "Row",
    "Rows",
    "Session",
    "State",
    "StateLocked",
    "Step",
    "ToolInputError",
    "Transaction",
    "agent",
    "allow",
    "ask",
    "db",
    "deny",
    "jobs",
    "state",
]

#: Where the names live that most plugins never look at; each is loaded at the first look.
_LATER = {
    "_db": ("AsyncDb", "AsyncTransaction", "Db", "Row", "Rows", "Transaction", "db"),
    "_session": ("Session",),
    "_state": ("AsyncState", "Entry", "Key", "Lease", "State", "state"),
    "_step": ("Step",),
    "_values": ("Json",),
    "_work": (
        "Accepted",
        "Agent",
        "AsyncAgent",
        "AsyncJobs",
        "Beat",
        "Destination",
        "Effect",
        "Job",
        "Jobs",
        "Projection",
        "agent",
        "jobs",
    ),
}

#: What may succeed when it is done again a little later.
_RETRYABLE = (
    "agent.queue_full",
    "db.conflict",
    "host.busy",
    "job.queue_full",
    "state.locked",
    "store.busy",
)

_COROUTINE = 0x80
_JOB_NAME = frozenset("abcdefghijklmnopqrstuvwxyz0123456789._-")


class Cancelled(BaseException):
    """Raised inside a handler whose time is over or whose answer nobody wants any more.

    Not an ``Exception``, so that ``except Exception`` lets it through. Clean up and let it pass.
    """


class ToolInputError(Exception):
    """Raise it in a tool whose input makes no sense. The model sees the text."""


class HostError(Exception):
    """The host refused a request of the plugin. ``code`` is its stable code."""

    def __init__(self, message: str, code: str = "host.failed"):
        super().__init__(message)
        self.code = code

    @property
    def is_retryable(self) -> bool:
        """Whether the same may succeed a little later, a transaction from its start."""
        return self.code in _RETRYABLE


class DbConstraint(HostError):
    """A constraint of the plugin's own tables refused a row."""


class DbConflict(HostError):
    """The transaction ran into another one; run it again from its start."""


class StateLocked(HostError):
    """Somebody else holds the lock."""


class LeaseLost(HostError):
    """The lock is no longer held, so nothing was changed."""


_ERRORS = {
    "db.constraint": DbConstraint,
    "db.conflict": DbConflict,
    "state.locked": StateLocked,
    "state.lease_lost": LeaseLost,
}


def host_error(message, code):
    """The error for a stable code."""
    return _ERRORS.get(code, HostError)(message, code)


def __getattr__(name):
    for module, names in _LATER.items():
        if name in names:
            found = getattr(__import__(f"{__name__}.{module}", fromlist=[name]), name)
            globals()[name] = found
            return found
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def allow() -> dict:
    """The reply to a deciding hook: go on."""
    return {"decision": "allow"}


def ask(reason: str) -> dict:
    """The reply to a deciding hook: let the user decide, and show the reason."""
    return {"decision": "ask", "reason": reason}


def deny(reason: str) -> dict:
    """The reply to a deciding hook: do not do it; the agent is told the reason."""
    return {"decision": "deny", "reason": reason}


class Log:
    """The plugin's log at the host. Never raises; what comes too fast goes to standard error."""

    __slots__ = ("_link",)

    def __init__(self, link):
        self._link = link

    def debug(self, message: object, **fields: Any) -> None:
        """For the author."""
        self._link.log("debug", message, fields)

    def info(self, message: object, **fields: Any) -> None:
        """A normal event."""
        self._link.log("info", message, fields)

    def warning(self, message: object, **fields: Any) -> None:
        """Something to look at."""
        self._link.log("warning", message, fields)

    def error(self, message: object, **fields: Any) -> None:
        """Something failed."""
        self._link.log("error", message, fields)


class Clock:
    """The host's clock, which tests move by hand."""

    __slots__ = ("_link",)

    def __init__(self, link):
        self._link = link

    def now(self) -> float:
        """Seconds since 1970-01-01 UTC."""
        return self.unix_ms() / 1000

    def unix_ms(self) -> int:
        """Milliseconds since 1970-01-01 UTC."""
        return self._link.request("clock/now", {})["unix_ms"]

    async def now_async(self) -> float:
        """As ``now``, for ``async def`` handlers: other calls go on meanwhile."""
        return (await self._link.request_async("clock/now", {}))["unix_ms"] / 1000


class Context:
    """What a handler knows besides its payload."""

    __slots__ = ("kind", "name", "caller", "_link", "_due")

    def __init__(self, link, kind, name, due, caller=None):
        #: ``hook``, ``tool``, ``step`` or ``activate``.
        self.kind: str = kind
        #: The name of the hook, tool or step.
        self.name: str = name
        #: For tools: who calls and from where, as the host knows it; ``None`` where it does not.
        self.caller: dict | None = caller
        self._link = link
        self._due = due

    @property
    def plugin(self) -> str:
        """The plugin's name."""
        return self._link.plugin

    @property
    def config(self) -> dict:
        """What the user set for this plugin."""
        return self._link.config

    @property
    def grants(self) -> tuple[str, ...]:
        """The permissions that were granted."""
        return self._link.grants

    @property
    def log(self) -> Log:
        """The plugin's log at the host."""
        return self._link.log_door

    @property
    def clock(self) -> Clock:
        """The host's clock."""
        return self._link.clock_door

    @property
    def db(self) -> Db:
        """The plugin's own database; ``ctx.db.aio`` in ``async def`` handlers."""
        from ._db import Db

        return Db(self._link)

    @property
    def state(self) -> State:
        """The plugin's own values by key; ``ctx.state.aio`` in ``async def`` handlers."""
        from ._state import State

        return State(self._link)

    @property
    def agent(self) -> Agent:
        """The plugin's agent runs; a heartbeat and a job may ask for new ones."""
        from ._work import Agent

        return Agent(self._link)

    @property
    def jobs(self) -> Jobs:
        """The plugin's jobs; ``ctx.jobs.aio`` in ``async def`` handlers."""
        from ._work import Jobs

        return Jobs(self._link)

    @property
    def remaining(self) -> float:
        """Seconds until the answer is due; 0 when it is late."""
        return max(0.0, self._due - monotonic())

    def request(self, method: str, params: Any = None) -> Any:
        """Asks the host for a service by its wire method. Raises ``HostError``."""
        return self._link.request(method, {} if params is None else params)

    async def request_async(self, method: str, params: Any = None) -> Any:
        """As ``request``, for ``async def`` handlers."""
        return await self._link.request_async(method, {} if params is None else params)


class Plugin:
    """A plugin that declares its hooks and tools one by one.

    Keep it in a module-level variable named ``plugin``.
    """

    __kodex_declared__ = True

    def __init__(
        self,
        name: str,
        version: str,
        description: str,
        capabilities: Iterable[str] = (),
        *,
        api: str | None = None,
    ):
        self.manifest = PluginManifest(name, version, description, tuple(capabilities))
        self.api = api
        self._hooks = []
        self._tools = []
        self._permissions = []
        self._needs = []
        self._database = None
        self._functions = {}
        self._on_activate = []
        self._on_deactivate = []

    def hook(
        self,
        on: str,
        *,
        priority: int = 0,
        timeout: str | float | None = None,
        required: bool = False,
    ) -> Callable[[Function], Function]:
        """Declares that the function answers a hook; ``*`` stands for every hook.

        Lower priorities run earlier. ``timeout`` is a span such as ``"500ms"``, or seconds.
        With ``required``, a failure stops a chain.
        """
        row = _hook_row(on, timeout)
        if priority:
            row["priority"] = priority
        if required:
            row["required"] = True

        def declare(function):
            self._add("hook", on, function)
            self._hooks.append(row)
            return function

        return declare

    def heartbeat(
        self, function: Function | None = None, *, timeout: str | float | None = None
    ) -> Any:
        """Declares that the function does what is due, at every heartbeat; it takes a ``Beat``.

        ``@plugin.heartbeat`` or ``@plugin.heartbeat(timeout="20s")``. What it returns is the reply;
        with nothing, the host is told how many agent runs were started.
        """
        declare = self._given("Beat", _hook_row("heartbeat", timeout))
        return declare if function is None else declare(function)

    def job(
        self, name: str, *, timeout: str | float | None = None
    ) -> Callable[[Function], Function]:
        """Declares that the function does the jobs of a name; it takes a ``Job``.

        This is the hook ``job.<name>``. A job is delivered at least once: one that raises is tried
        again. ``session.completed`` is the job that the end of a session triggers.
        """
        fits = name and len(name) <= 128 and all(c in _JOB_NAME for c in name)
        if not fits:
            why = "lower-case letters, digits, dots, hyphens and underscores"
            raise ValueError(f"{name!r} is no name for a job: {why}, at most 128")
        return self._given("Job", _hook_row(f"job.{name}", timeout))

    def tool(
        self,
        name: str | None = None,
        *,
        description: str | None = None,
        input_schema: dict | None = None,
        output_schema: dict | None = None,
        timeout: str | float | None = None,
        read_only: bool | None = None,
        destructive: bool | None = None,
        idempotent: bool | None = None,
        open_world: bool | None = None,
        needs_caller: bool = False,
    ) -> Callable[[Function], Function]:
        """Declares that the function is a tool.

        Without a name or description, the function's name and the first line of its documentation
        stand for them; without an input schema, one is derived when the payload is annotated with a
        ``TypedDict``. ``read_only`` to ``open_world`` are hints for review and grant nothing.
        A tool that ``needs_caller`` is neither offered nor called where the host knows none.
        """
        hints = {
            "read_only": read_only,
            "destructive": destructive,
            "idempotent": idempotent,
            "open_world": open_world,
        }
        row = {"input_schema": input_schema, "output_schema": output_schema}
        row["annotations"] = {
            hint: said for hint, said in hints.items() if said is not None
        } or None
        row["timeout"] = None if timeout is None else _span(timeout)
        if needs_caller:
            row["needs_caller"] = True

        def declare(function):
            own = name or function.__name__
            self._add("tool", own, function)
            about = description or (function.__doc__ or own).strip().splitlines()[0]
            self._tools.append(({"name": own, "description": about, **row}, function))
            return function

        return declare

    def step(self, name: str) -> Callable[[Function], Function]:
        """Declares that the function is a data step of the journal; it takes a ``Step``.

        ``name`` is that of the file, up to the first dot, whose header says ``-- kodex: code``.
        The function returns its counters (``scanned``, ``migrated``, ``existing``, ``missing``,
        ``skipped``) or ``None``, and must be able to run again after a crash.
        """
        if not (len(name) > 5 and name[:4].isdigit() and name[4] == "_" and "." not in name):
            raise ValueError(f"a step is named like its file, as in '0003_backfill', not {name!r}")

        def declare(function):
            self._add("step", name, function)
            self._functions["step", name] = given_handler("Step", function)
            return function

        return declare

    def on_activate(self, function: Function) -> Function:
        """Declares that the function runs once before the first call; it may take a ``Context``."""
        self._on_activate.append(function)
        return function

    def on_deactivate(self, function: Function) -> Function:
        """Declares that the function runs when the plugin is no longer needed."""
        self._on_deactivate.append(function)
        return function

    def permission(self, allow: str, reason: str = "") -> None:
        """Declares a permission that the plugin asks for, such as ``fs:read ${project}/**``."""
        self._permissions.append({"allow": allow, "reason": reason})

    def database(self, migrations: str = "migrations", *, renamed_from: str | None = None) -> None:
        """Declares that the plugin has a database, whose journal is this folder of SQL files.

        ``renamed_from`` is an earlier name of the plugin, whose tables this one takes over.
        """
        self._database = {"migrations": migrations}
        if renamed_from is not None:
            self._database["renamed_from"] = renamed_from

    def requires(self, *programs: str) -> None:
        """Declares programs that must be on the machine."""
        self._needs.extend(programs)

    def declaration(self) -> dict:
        """Everything declared, as the JSON form of ``kodex.toml`` without its ``run`` part."""
        manifest = self.manifest.normalized()
        plugin = {
            "name": manifest.name,
            "version": manifest.version,
            "description": manifest.description,
            "capabilities": list(manifest.capabilities),
        }
        if self.api is not None:
            plugin["api"] = self.api
        whole = {"manifest": 1, "plugin": plugin, "hook": [dict(row) for row in self._hooks]}
        whole["tool"] = [_finish_tool(row, function) for row, function in self._tools]
        whole["permission"] = [dict(row) for row in self._permissions]
        if self._database is not None:
            whole["database"] = dict(self._database)
        if self._needs:
            whole["requires"] = {"bin": list(self._needs)}
        return {key: value for key, value in whole.items() if value != []}

    def deactivate(self) -> list:
        """Runs what ``on_deactivate`` declared; gives the coroutines still to be awaited."""
        return _coroutines(function() for function in self._on_deactivate)

    @property
    def is_async(self) -> bool:
        """Whether any function of the plugin is a coroutine function."""
        beside = self._on_activate + self._on_deactivate
        handlers = self._functions.values()
        return any(map(is_coroutine, beside)) or any(handler.is_async for handler in handlers)

    def _add(self, kind, name, function):
        if (kind, name) in self._functions:
            raise ValueError(f"{kind} {name!r} is declared twice")
        context, coroutine = _wants_context(function, 1), is_coroutine(function)
        self._functions[kind, name] = Handler(function, context, coroutine)

    def _given(self, form, row):
        def declare(function):
            self._add("hook", row["on"], function)
            self._functions["hook", row["on"]] = given_handler(form, function)
            self._hooks.append(row)
            return function

        return declare

    def find(self, kind: str, name: str) -> Handler | None:
        """The handler of a hook, tool or step."""
        found = self._functions.get((kind, name))
        if found is None and kind == "hook":
            found = self._functions.get(("hook", "*"))
        return found

    def activate(self, link) -> list:
        """Runs what ``on_activate`` declared; gives the coroutines that are still to be awaited."""
        context = Context(link, "activate", "", float("inf"))
        return _coroutines(
            function(context) if _wants_context(function, 0) else function()
            for function in self._on_activate
        )


class Handler:
    """A function of the plugin and how it wants to be called."""

    __slots__ = ("run", "wants_context", "is_async")

    def __init__(self, run, wants_context, is_async):
        self.run = run
        self.wants_context = wants_context
        self.is_async = is_async


def given_handler(form, function):
    """The handler for a function that takes a ``Step``, a ``Beat`` or a ``Job``."""
    if is_coroutine(function):

        async def run(payload, context):
            given = _made(form, payload, context)
            return given.reply(await function(given))

        return Handler(run, True, True)

    def run(payload, context):
        given = _made(form, payload, context)
        return given.reply(function(given))

    return Handler(run, True, False)


def _made(form, payload, context):
    kind = globals().get(form) or __getattr__(form)
    return kind(context, payload if isinstance(payload, dict) else {})


def _coroutines(results):
    # Built at once, so that every function has run.
    return [result for result in list(results) if hasattr(result, "__await__")]


def is_coroutine(function: Any) -> bool:
    """Whether calling the function gives a coroutine. ``inspect`` would cost its import."""
    code = _code_of(function)
    return code is not None and bool(code.co_flags & _COROUTINE)


def _code_of(function):
    function = getattr(function, "__func__", function)
    code = getattr(function, "__code__", None)
    if code is None:
        code = getattr(getattr(type(function), "__call__", None), "__code__", None)
    return code


def _wants_context(function, n_before):
    """Whether the function has a place for a context behind its ``n_before`` arguments."""
    plain = getattr(function, "__func__", function)
    code = getattr(plain, "__code__", None)
    if code is None:
        return _wants_context_slowly(function, n_before)
    names = code.co_varnames[: code.co_argcount]
    n_bound = 1 if hasattr(function, "__self__") else 0
    defaults = plain.__defaults__ or ()
    n_needed = len(names) - len(defaults)
    behind = names[n_bound + n_before :]
    return n_needed > n_bound + n_before or "ctx" in behind or "context" in behind


def _wants_context_slowly(function, n_before):
    from inspect import Parameter, signature

    places = [
        place
        for place in signature(function).parameters.values()
        if place.kind in (Parameter.POSITIONAL_ONLY, Parameter.POSITIONAL_OR_KEYWORD)
    ]
    needed = [place for place in places if place.default is Parameter.empty]
    names = [place.name for place in places[n_before:]]
    return len(needed) > n_before or "ctx" in names or "context" in names


def _hook_row(on, timeout):
    if timeout is None:
        return {"on": on}
    return {"on": on, "timeout": _span(timeout)}


def _span(timeout):
    """The span as manifests write it."""
    span = timeout if isinstance(timeout, str) else f"{_milliseconds(timeout)}ms"
    _milliseconds(span)
    return span


def _milliseconds(span):
    if not isinstance(span, str):
        return round(span * 1000)
    for unit, factor in (("ms", 1), ("s", 1000), ("m", 60_000)):
        number = span[: -len(unit)]
        if span.endswith(unit) and number.isdigit():
            return int(number) * factor
    raise ValueError(f"a span is written as 500ms, 1s or 2m, not {span!r}")


def _finish_tool(row, function):
    row = {key: value for key, value in row.items() if value is not None}
    if "input_schema" not in row:
        from ._schema import input_schema

        derived = input_schema(function)
        if derived is not None:
            row["input_schema"] = derived
    return row
