"""Work that outlives a call: the host's services ``agent/*`` and ``job/*``.

Agent runs are asked for in a heartbeat or a job, whose ticket is the right to do so; jobs are added
anywhere. Once the host has answered, what was asked for is durable.
"""

from __future__ import annotations

from . import Context
from ._scope import link_of, refuse_in_coroutine

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Literal, Mapping

    from ._session import Session

    Status = Literal[
        "pending", "running", "awaiting_resume", "blocked", "completed", "failed", "cancelled"
    ]
    Visibility = Literal["private", "public"]
    Priority = Literal["urgent", "normal", "low"]

OVER = ("completed", "failed", "cancelled")


class Destination:
    """A place where answers go to or requests come from, such as ``("file", "report.md")``."""

    __slots__ = ("kind", "address")

    def __init__(self, kind: str, address: str):
        #: ``session``, ``file``, ``webhook``, ``command``, or what the host knows besides.
        self.kind = kind
        #: Which one of that kind.
        self.address = address

    def __iter__(self):
        return iter((self.kind, self.address))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Destination) and tuple(self) == tuple(other)

    def __hash__(self) -> int:
        return hash(tuple(self))

    def __repr__(self) -> str:
        return f"Destination({self.kind!r}, {self.address!r})"


class Accepted:
    """What was asked for is durable."""

    __slots__ = ("id", "is_new")

    def __init__(self, answer):
        #: The run or job.
        self.id: str = answer["id"]
        #: Whether it was made now; otherwise it was there.
        self.is_new: bool = answer["status"] == "created"

    def __repr__(self) -> str:
        return f"Accepted(id={self.id!r}, is_new={self.is_new})"


class Projection:
    """Where a run or job is. Nothing of the request is in it."""

    __slots__ = ("id", "status", "result_at", "error")

    def __init__(self, found):
        self.id: str = found["id"]
        self.status: Status = found["status"]
        at_ms = found.get("result_at_ms")
        #: When the result was there, in seconds since 1970-01-01 UTC.
        self.result_at: float | None = None if at_ms is None else at_ms / 1000
        #: Why it failed, is blocked or was cancelled.
        self.error: str | None = found.get("error")

    @property
    def is_over(self) -> bool:
        """Whether it never changes again by itself."""
        return self.status in OVER

    def __repr__(self) -> str:
        return f"Projection(id={self.id!r}, status={self.status!r}, error={self.error!r})"


class Effect:
    """What is known of an effect of a job."""

    __slots__ = ("first", "value")

    def __init__(self, known):
        #: Nobody said so before, in no attempt.
        self.first: bool = known["first"]
        #: What the first one gave.
        self.value: Any = known.get("value")

    def __repr__(self) -> str:
        return f"Effect(first={self.first}, value={self.value!r})"


class _Door:
    """What the doors have in common: the way to the host, and the call whose ticket they carry."""

    __slots__ = ("_link", "_call")

    def __init__(self, link=None, call=None):
        self._link = link
        self._call = call

    def _ask(self, method, asked):
        refuse_in_coroutine(self._name)
        return (self._link or link_of(self._name)).request(method, asked)

    async def _ask_async(self, method, asked):
        return await (self._link or link_of(self._name)).request_async(method, asked)

    def _ticket(self, ticket, what):
        if ticket is None and self._call is not None:
            return self._call.ticket
        if ticket is None:
            why = "use the doors of what the handler is given, as in `beat.agent.dispatch(...)`"
            raise ValueError(f"{what}: {why}, or pass `ticket`")
        return ticket


class _AgentDoor(_Door):
    __slots__ = ()
    _name = "kodex.agent"

    def _wish(self, key, to, input, ticket, more):
        what = "an agent run is asked for in a heartbeat or a job"
        asked = {
            "ticket": self._ticket(ticket, what),
            "idempotency_key": key,
            "destination": _place("to", to),
            "input": input,
        }
        if more.get("source") is not None:
            more["source"] = _place("source", more["source"])
        return {**asked, **{name: said for name, said in more.items() if said is not None}}

    def _accepted(self, answer):
        accepted = Accepted(answer)
        if accepted.is_new and self._call is not None:
            self._call.n_started += 1
        return accepted


class Agent(_AgentDoor):
    """The plugin's agent runs for ordinary functions: ``kodex.agent``, and also ``beat.agent``."""

    __slots__ = ()

    @property
    def aio(self) -> AsyncAgent:
        """The same for ``async def`` functions."""
        return AsyncAgent(self._link, self._call)

    def dispatch(
        self,
        key: str,
        to: Destination | tuple[str, str],
        input: str,
        *,
        metadata: Mapping[str, str] | None = None,
        source: Destination | tuple[str, str] | None = None,
        visibility: Visibility | None = None,
        subject: Mapping[str, str] | None = None,
        attribution: str | None = None,
        ticket: int | None = None,
    ) -> Accepted:
        """Asks for a run of the agent; its answer goes ``to`` a place.

        The same plugin and ``key`` always mean the same run, so asking again does no harm.
        ``metadata`` are short facts for whoever runs it, ``attribution`` says in a few words to the
        reader what asked. ``subject``, as in ``{"user": "u-1"}``, is whose stored credentials the
        run may use; a private session alone may be given those.

        Raises ``HostError``: ``agent.invalid`` names the field, ``agent.too_many`` is the 26th run
        of one call, ``ticket.ended`` a call that is over, ``agent.queue_full`` too many unfinished.
        """
        more = {"metadata": metadata, "source": source, "visibility": visibility}
        more.update(subject=subject, attribution=attribution)
        asked = self._wish(key, to, input, ticket, more)
        return self._accepted(self._ask("agent/dispatch", asked))

    def find(self, id: str) -> Projection | None:
        """Where a run of this plugin is; ``None`` when it has no such run."""
        return _found(self._ask("agent/get", {"id": id}))

    def cancel(self, id: str) -> bool:
        """Asks for a run's end; says whether it has ended or will be told to."""
        return self._ask("agent/cancel", {"id": id})["done"]


class AsyncAgent(_AgentDoor):
    """The plugin's agent runs for ``async def`` functions: the names of ``Agent``, awaited."""

    __slots__ = ()

    async def dispatch(
        self,
        key: str,
        to: Destination | tuple[str, str],
        input: str,
        *,
        metadata: Mapping[str, str] | None = None,
        source: Destination | tuple[str, str] | None = None,
        visibility: Visibility | None = None,
        subject: Mapping[str, str] | None = None,
        attribution: str | None = None,
        ticket: int | None = None,
    ) -> Accepted:
        """See ``Agent.dispatch``."""
        more = {"metadata": metadata, "source": source, "visibility": visibility}
        more.update(subject=subject, attribution=attribution)
        asked = self._wish(key, to, input, ticket, more)
        return self._accepted(await self._ask_async("agent/dispatch", asked))

    async def find(self, id: str) -> Projection | None:
        """See ``Agent.find``."""
        return _found(await self._ask_async("agent/get", {"id": id}))

    async def cancel(self, id: str) -> bool:
        """See ``Agent.cancel``."""
        return (await self._ask_async("agent/cancel", {"id": id}))["done"]


class _JobsDoor(_Door):
    __slots__ = ()
    _name = "kodex.jobs"

    def _claim(self, key, value, ticket):
        what = "an effect is recorded in a job"
        return {"ticket": self._ticket(ticket, what), "key": key, "value": value}


class Jobs(_JobsDoor):
    """The plugin's jobs for ordinary functions: ``kodex.jobs``, ``ctx.jobs``, ``job.jobs``."""

    __slots__ = ()

    @property
    def aio(self) -> AsyncJobs:
        """The same for ``async def`` functions."""
        return AsyncJobs(self._link, self._call)

    def enqueue(
        self,
        name: str,
        params: Any = None,
        *,
        key: str | None = None,
        delay: float = 0,
        priority: Priority | None = None,
        lane: str | None = None,
        max_attempts: int | None = None,
    ) -> Accepted:
        """Adds a job, which the function declared by ``@plugin.job(name)`` will be called with.

        The same plugin, name and ``key`` always mean the same job; without one every call adds one.
        It is due after ``delay`` seconds. Jobs of one ``lane`` never run at the same time. One that
        raises is tried again, 5 times in all when ``max_attempts`` does not say.

        Raises ``HostError``: ``job.invalid`` names the field, ``job.unknown`` is a name that no
        function was declared for, ``job.queue_full`` too many unfinished.
        """
        return Accepted(
            self._ask("job/enqueue", _job(name, params, key, delay, priority, lane, max_attempts))
        )

    def find(self, id: str) -> Projection | None:
        """Where a job of this plugin is; ``None`` when it has no such job."""
        return _found(self._ask("job/get", {"id": id}))

    def cancel(self, id: str) -> bool:
        """Asks for a job's end; says whether it has ended or will be told to."""
        return self._ask("job/cancel", {"id": id})["done"]

    def effect(self, key: str, value: Any = None, *, ticket: int | None = None) -> Effect:
        """See ``Job.effect``, which knows its ticket."""
        return Effect(self._ask("job/effect", self._claim(key, value, ticket)))


class AsyncJobs(_JobsDoor):
    """The plugin's jobs for ``async def`` functions: the names of ``Jobs``, awaited."""

    __slots__ = ()

    async def enqueue(
        self,
        name: str,
        params: Any = None,
        *,
        key: str | None = None,
        delay: float = 0,
        priority: Priority | None = None,
        lane: str | None = None,
        max_attempts: int | None = None,
    ) -> Accepted:
        """See ``Jobs.enqueue``."""
        asked = _job(name, params, key, delay, priority, lane, max_attempts)
        return Accepted(await self._ask_async("job/enqueue", asked))

    async def find(self, id: str) -> Projection | None:
        """See ``Jobs.find``."""
        return _found(await self._ask_async("job/get", {"id": id}))

    async def cancel(self, id: str) -> bool:
        """See ``Jobs.cancel``."""
        return (await self._ask_async("job/cancel", {"id": id}))["done"]

    async def effect(self, key: str, value: Any = None, *, ticket: int | None = None) -> Effect:
        """See ``Job.effect``."""
        return Effect(await self._ask_async("job/effect", self._claim(key, value, ticket)))


class _Ticketed(Context):
    """A context whose doors carry the ticket of the call."""

    __slots__ = ("ticket", "n_started")

    def __init__(self, context, payload):
        super().__init__(context._link, context.kind, context.name, context._due)
        #: The right to ask for agent runs, until this call is over.
        self.ticket: int = payload.get("ticket", 0)
        #: How many agent runs were started here so far; those that were there do not count.
        self.n_started: int = 0

    @property
    def agent(self) -> Agent:
        """The plugin's agent runs, with the ticket of this call."""
        return Agent(self._link, self)

    @property
    def jobs(self) -> Jobs:
        """The plugin's jobs, with the ticket of this call."""
        return Jobs(self._link, self)


class Beat(_Ticketed):
    """One heartbeat: a context that may ask for agent runs."""

    __slots__ = ("now",)

    def __init__(self, context, payload):
        super().__init__(context, payload)
        #: The host's time, in seconds since 1970-01-01 UTC.
        self.now: float = payload.get("now_unix_ms", 0) / 1000

    def reply(self, returned):
        """What the host is told: the count of new runs, or what the function returned."""
        if returned is None:
            return {"n_started": self.n_started} if self.n_started else None
        if not isinstance(returned, dict):
            why = f"a heartbeat returns nothing, or its reply as a dict, not {returned!r}"
            raise TypeError(why)
        return returned


class Job(_Ticketed):
    """One attempt at a job: a context that may record effects and ask for agent runs."""

    __slots__ = ("id", "params", "attempt", "session")

    def __init__(self, context, payload):
        super().__init__(context, payload)
        #: The same in every attempt.
        self.id: str = payload.get("id", "")
        #: What the job was added with.
        self.params: Any = payload.get("params")
        #: Which attempt this is, from 1.
        self.attempt: int = payload.get("attempt", 1)
        #: What happened in the session, for the job ``session.completed``.
        self.session: Session | None = payload.get("session")

    def effect(self, key: str, value: Any = None) -> Effect:
        """Records an effect of this job, once over all attempts.

        The first one wins: ``first`` is true and ``value`` the given one. Later ones, also in
        another attempt, hear its value. So a value that all attempts must share is fixed before it
        is used, and what must not happen twice is claimed before it is done.
        """
        return self.jobs.effect(key, value)

    async def effect_async(self, key: str, value: Any = None) -> Effect:
        """As ``effect``, for ``async def`` functions."""
        return await self.jobs.aio.effect(key, value)

    def reply(self, returned):
        """The job's result."""
        return returned


def _place(field, place):
    if isinstance(place, str) or not hasattr(place, "__iter__"):
        raise TypeError(f"{field} is a Destination or a pair such as ('file', 'report.md')")
    kind, address = place
    return {"kind": kind, "address": address}


def _job(name, params, key, delay, priority, lane, max_attempts):
    asked = {"name": name, "params": params, "key": key, "priority": priority, "lane": lane}
    asked["max_attempts"] = max_attempts
    # Never sooner than asked for; the host refuses what is out of bounds.
    asked["delay_ms"] = -int(-delay * 1000 // 1) or None
    return {name: said for name, said in asked.items() if said is not None}


def _found(answer):
    return Projection(answer) if "id" in answer else None


#: The agent runs of the plugin in this process.
agent = Agent()
#: The jobs of the plugin in this process.
jobs = Jobs()
