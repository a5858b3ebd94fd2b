"""Runs and jobs of ``kodex.testing`` behind ``agent/*`` and ``job/*``, with a host's rules.

No agent is run: the test says how a run ends. Jobs are run when the test says so.
"""

from __future__ import annotations

from hashlib import sha256

from . import HostError
from ._json import dumps

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

KEY_CHARS = 512
INPUT_CHARS = 32_000
N_METADATA = 20
METADATA_KEY_CHARS = 128
METADATA_VALUE_CHARS = 512
ADDRESS_CHARS = 512
ATTRIBUTION_CHARS = 160
N_DISPATCHES = 25
PAYLOAD_BYTES = 256 << 10
N_WAITING = 10_000
ATTEMPTS = 5
MAX_DELAY_MS = 10 * 366 * 86_400_000
#: Seconds before the second, third, ... attempt; the last one holds for all further.
PAUSES = (1, 5, 30, 120, 600)
OVER = ("completed", "failed", "cancelled")
BREAKS = "\n\r\x85\u2028\u2029"
WORD = frozenset("abcdefghijklmnopqrstuvwxyz0123456789-")
NAME = WORD | frozenset("._")

#: The fields of each method with their kinds: those that must be there, and the others.
PLACE = {"kind": str, "address": str}
#: Those that may be left out, but not be null.
FULL = ("delay_ms", "metadata", "priority", "visibility")
FIELDS = {
    "agent/dispatch": (
        {"ticket": int, "idempotency_key": str, "destination": dict, "input": str},
        {"metadata": dict, "source": dict, "visibility": str, "subject": dict, "attribution": str},
    ),
    "job/enqueue": (
        {"name": str},
        {
            "params": object,
            "key": str,
            "delay_ms": int,
            "priority": str,
            "lane": str,
            "max_attempts": int,
        },
    ),
    "job/effect": ({"ticket": int, "key": str}, {"value": object}),
}


class FakeRun:
    """An agent run that the plugin asked for. The test says how it went."""

    def __init__(self, id, asked, clock):
        self.id: str = id
        self.key: str = asked["idempotency_key"]
        self.destination: tuple[str, str] = _pair(asked["destination"])
        self.input: str = asked["input"]
        self.metadata: dict[str, str] = asked.get("metadata", {})
        self.source: tuple[str, str] = _pair(asked.get("source") or asked["destination"])
        self.visibility: str = asked.get("visibility", "private")
        self.subject: dict[str, str] | None = asked.get("subject")
        self.attribution: str | None = asked.get("attribution")
        self.status = "pending"
        self.error: str | None = None
        self.result_at_ms: int | None = None
        self._clock = clock

    def complete(self) -> None:
        """The agent has answered, and the answer is where it should be."""
        self.status, self.error = "completed", None
        self.result_at_ms = round(self._clock.now * 1000)

    def fail(self, error: str) -> None:
        """The agent gave up."""
        self.status, self.error = "failed", error

    def block(self, reason: str) -> None:
        """The agent cannot go on until somebody changes something."""
        self.status, self.error = "blocked", reason


class FakeJob:
    """A job of the plugin."""

    def __init__(self, id, asked, clock):
        self.id: str = id
        self.name: str = asked["name"]
        self.params: Any = asked.get("params")
        self.key: str | None = asked.get("key")
        self.lane: str | None = asked.get("lane")
        self.priority: str = asked.get("priority", "normal")
        self.max_attempts: int = asked.get("max_attempts", ATTEMPTS)
        #: When it is due, in seconds since 1970-01-01 UTC.
        self.due_at: float = clock.now + asked.get("delay_ms", 0) / 1000
        #: How often it was begun.
        self.attempt = 0
        self.status = "pending"
        self.error: str | None = None
        #: What the last attempt raised.
        self.raised: BaseException | None = None
        self.result: Any = None
        #: What was recorded with ``job.effect``, by key.
        self.effects: dict[str, Any] = {}
        self.result_at_ms: int | None = None
        self.is_wanted = True


class FakeWork:
    """One plugin's runs and jobs, on a clock that is moved by hand."""

    def __init__(self, plugin, clock, has_job, destinations):
        self.plugin = plugin
        self.clock = clock
        self.destinations = destinations
        self.runs = {}
        self.jobs = {}
        self._has_job = has_job
        self._tickets = {}
        self._last_ticket = 0
        self._n_made = 0

    def services(self):
        """The methods and what answers them."""
        return {
            "agent/dispatch": self.dispatch,
            "agent/get": lambda params: self._project(self.runs, "agent/get", params),
            "agent/cancel": lambda params: self._cancel(self.runs, "agent/cancel", params),
            "job/enqueue": self.enqueue,
            "job/get": lambda params: self._project(self.jobs, "job/get", params),
            "job/cancel": lambda params: self._cancel(self.jobs, "job/cancel", params),
            "job/effect": self.effect,
        }

    def issue(self, job=None):
        """A ticket for a heartbeat or a job."""
        self._last_ticket += 1
        self._tickets[self._last_ticket] = [job, 0]
        return self._last_ticket

    def end(self, ticket):
        """The call with this ticket is over."""
        del self._tickets[ticket]

    def dispatch(self, params):
        """Takes a wish for a run."""
        self._check_fields("agent/dispatch", params)
        ticket = self._ticket(params)
        self._check_run(params)
        self._check_room(self.runs, "agent.queue_full")
        if ticket[1] >= N_DISPATCHES:
            why = f"asked for {N_DISPATCHES} agent runs in one call, the most there may be"
            raise self._error(why, "agent.too_many")
        ticket[1] += 1
        key = params["idempotency_key"]
        return self._add(self.runs, _id("run", self.plugin, key), FakeRun, params)

    def enqueue(self, params):
        """Takes a wish for a job."""
        self._check_fields("job/enqueue", params)
        self._check_job(params)
        name, key = params["name"], params.get("key")
        if not self._has_job(name):
            why = f"has no job {name!r}; declare a function with @plugin.job({name!r})"
            raise self._error(why, "job.unknown")
        self._check_room(self.jobs, "job.queue_full")
        if len(dumps({"params": params.get("params")})) > PAYLOAD_BYTES:
            raise self._error(f"the job has more than {PAYLOAD_BYTES} bytes", "job.invalid")
        return self._add(self.jobs, self.id_of(name, key), FakeJob, params)

    def id_of(self, name, key):
        """The id of a job: the same for the same key, a new one without any."""
        if key is not None:
            return _id("job", self.plugin, name, key)
        self._n_made += 1
        return f"job_{self._n_made:032x}"

    def job(self, id, asked):
        """A job that nobody asked for over the wire."""
        return FakeJob(id, asked, self.clock)

    def effect(self, params):
        """Records an effect."""
        self._check_fields("job/effect", params)
        job = self._ticket(params)[0]
        if job is None:
            raise self._error("effects are recorded in jobs; this is a heartbeat", "ticket.no_job")
        key, value = params["key"], params.get("value")
        if not key.strip() or len(key) > KEY_CHARS or len(dumps(value)) > PAYLOAD_BYTES:
            why = f"an effect has a key of 1 to {KEY_CHARS} characters and a value of at most "
            raise self._error(f"{why}{PAYLOAD_BYTES} bytes; nothing was recorded", "job.invalid")
        first = key not in job.effects
        return {"first": first, "value": job.effects.setdefault(key, value)}

    def due(self):
        """The job whose turn it is."""
        rank = ("urgent", "normal", "low")
        due = [job for job in self.jobs.values() if job.status == "pending"]
        due = [job for job in due if job.due_at <= self.clock.now]
        return min(due, key=lambda job: (rank.index(job.priority), job.due_at), default=None)

    def begin(self, job, session=None):
        """Begins an attempt; gives its payload."""
        job.status = "running"
        job.attempt += 1
        call = {"id": job.id, "params": job.params, "attempt": job.attempt}
        call["ticket"] = self.issue(job)
        return call if session is None else {**call, "session": session}

    def succeed(self, job, result):
        """The attempt has answered."""
        job.status, job.result, job.error, job.raised = "completed", result, None, None
        job.result_at_ms = round(self.clock.now * 1000)

    def fail(self, job, error):
        """The attempt has raised."""
        job.raised, job.error = error, str(error)
        if not job.is_wanted:
            job.status, job.error = "cancelled", "somebody asked for its end"
        elif job.attempt >= job.max_attempts:
            job.status = "failed"
        else:
            job.status = "pending"
            job.due_at = self.clock.now + PAUSES[min(job.attempt, len(PAUSES)) - 1]

    def _add(self, among, id, kind, params):
        if id in among:
            return {"id": id, "status": "already_exists"}
        among[id] = kind(id, params, self.clock)
        return {"id": id, "status": "created"}

    def _project(self, among, method, params):
        self._check_fields(method, params)
        found = among.get(params["id"])
        if found is None:
            return {}
        shown = {"id": found.id, "status": found.status}
        if found.status == "completed":
            shown["result_at_ms"] = found.result_at_ms
        if found.status in ("failed", "blocked", "cancelled") and found.error is not None:
            shown["error"] = found.error
        return shown

    def _cancel(self, among, method, params):
        self._check_fields(method, params)
        found = among.get(params["id"])
        if found is None:
            return {"done": False}
        if found.status == "running":
            found.is_wanted = False
        elif found.status not in OVER:
            found.status, found.error = "cancelled", "somebody asked for its end"
        return {"done": True}

    def _ticket(self, params):
        ticket = self._tickets.get(params["ticket"])
        if ticket is None:
            why = f"the heartbeat or job with ticket {params['ticket']} is over; nothing was stored"
            raise self._error(why, "ticket.ended")
        return ticket

    def _check_room(self, among, code):
        n = sum(one.status not in OVER for one in among.values())
        if n >= N_WAITING:
            raise self._error(f"{n} are unfinished, as many as there may be", code)

    def _check_fields(self, method, params):
        needed, more = FIELDS.get(method, ({"id": str}, {}))
        problem = _misfit(params, needed, more)
        facts = params.get("metadata", {}) if problem is None else {}
        if not all(type(said) is str for said in facts.values()):
            problem = "metadata holds texts alone"
        for field in ("destination", "source"):
            if problem is None and params.get(field) is not None:
                problem = _misfit(params[field], PLACE, {})
        if problem is None and params.get("subject") is not None:
            problem = _misfit(params["subject"], {"user": str}, {"task": str})
        words = {"visibility": ("private", "public"), "priority": ("urgent", "normal", "low")}
        for field, known in words.items():
            if problem is None and params.get(field, known[0]) not in known:
                problem = f"{field} is one of {', '.join(known)}"
        if problem:
            raise HostError(f"the parameters of {method} do not fit: {problem}", "params.invalid")

    def _check_run(self, asked):
        rules = [
            ("idempotency_key", _text_rule(asked["idempotency_key"], KEY_CHARS)),
            ("input", _text_rule(asked["input"], INPUT_CHARS)),
            *_place_rules("destination", asked["destination"], self.destinations),
            *(_place_rules("source", asked["source"], None) if asked.get("source") else ()),
            *_metadata_rules(asked.get("metadata", {})),
        ]
        if asked.get("attribution") is not None:
            rules.append(("attribution", _line_rule(asked["attribution"], ATTRIBUTION_CHARS)))
        if asked.get("subject") is not None:
            rules.append(("subject", _subject_rule(asked)))
        self._refuse("agent run", rules, "agent.invalid")

    def _check_job(self, asked):
        name, n = asked["name"], asked.get("max_attempts")
        is_name = 0 < len(name) <= 128 and NAME.issuperset(name)
        about = "is none: lower-case letters, digits, dots, hyphens and underscores, at most 128"
        rules = [("name", None if is_name else about)]
        for field in ("key", "lane"):
            if asked.get(field) is not None:
                rules.append((field, _text_rule(asked[field], KEY_CHARS)))
        if n is not None and not 1 <= n <= 100:
            rules.append(("max_attempts", "is out of bounds; 1 to 100 are allowed"))
        if asked.get("delay_ms", 0) > MAX_DELAY_MS:
            rules.append(("delay_ms", f"is over {MAX_DELAY_MS}, ten years"))
        self._refuse("job", rules, "job.invalid")

    def _refuse(self, what, rules, code):
        for field, rule in rules:
            if rule is not None:
                raise self._error(f"the {what}'s {field} {rule}; nothing was stored", code)

    def _error(self, problem, code):
        return HostError(f"plugin {self.plugin}: {problem}", code)


def _id(kind, *parts):
    return f"{kind}_{sha256(chr(0).join(parts).encode()).hexdigest()[:32]}"


def _pair(place):
    return place["kind"], place["address"]


def _misfit(given, needed, more):
    if not isinstance(given, dict):
        return "an object was expected"
    for field in needed:
        if field not in given:
            return f"{field} is missing"
    for field, value in given.items():
        kind = needed.get(field) or more.get(field)
        if kind is None:
            return f"there is no field {field}"
        # What may be left out may be null, but for what has a value of its own then.
        if value is None and field in more and field not in FULL:
            continue
        if not isinstance(value, kind) or (kind is int and (value is True or value is False)):
            return f"{field} has the wrong kind"
        if kind is int and value < 0:
            return f"{field} is below 0"
    return None


def _text_rule(text, limit):
    return _length_rule(text, limit) if text.strip() else "is blank"


def _line_rule(text, limit):
    return _value_rule(text, limit) if text.strip() else "is blank"


def _value_rule(text, limit):
    if any(c in BREAKS for c in text):
        return "has a line break"
    return _length_rule(text, limit)


def _length_rule(text, limit):
    if "\0" in text:
        return "holds a NUL character"
    if len(text) > limit:
        return f"has {len(text)} characters; at most {limit} are allowed"
    return None


def _place_rules(field, place, kinds):
    kind = place["kind"]
    rule = None
    if not 0 < len(kind) <= 40 or not WORD.issuperset(kind):
        rule = "is no name: lower-case letters, digits and hyphens, at most 40"
    elif kinds is not None and kind not in kinds:
        rule = f"{kind!r} is unknown here; known are {', '.join(kinds)}"
    yield f"{field}.kind", rule
    yield f"{field}.address", _line_rule(place["address"], ADDRESS_CHARS)


def _metadata_rules(metadata):
    if len(metadata) > N_METADATA:
        yield "metadata", f"has {len(metadata)} entries; at most {N_METADATA} are kept"
    for key, value in metadata.items():
        rule = _line_rule(key, METADATA_KEY_CHARS)
        yield "metadata", rule and f"has a key that {rule}"
        yield f"metadata.{key}", _value_rule(value, METADATA_VALUE_CHARS)


def _subject_rule(asked):
    for field in ("user", "task"):
        text = asked["subject"].get(field)
        rule = None if text is None else _line_rule(text, ADDRESS_CHARS)
        if rule is not None:
            return f"has a {field} that {rule}"
    is_private = asked.get("visibility", "private") == "private"
    if asked["destination"]["kind"] != "session" or not is_private:
        return "is allowed for a private destination of kind `session` alone"
    return None
