"""The fixture plugin of the recorded exchanges; contract/cases/README.md says what it does."""

import time

import kodex

plugin = kodex.Plugin("case-plugin", "1.2.3", "Answers the recorded exchanges.")


@plugin.hook("echo")
def echo(payload):
    return payload


@plugin.hook("nothing")
def nothing(payload):
    return None


@plugin.hook("raise")
def raise_(payload):
    raise RuntimeError(payload["text"])


@plugin.hook("log")
def log(payload, ctx):
    ctx.log.info("indexed", files=12)
    return {"logged": True}


@plugin.hook("clock")
def clock(payload, ctx):
    return {"unix_ms": ctx.clock.unix_ms()}


@plugin.hook("ask")
def ask(payload, ctx):
    try:
        return {"result": ctx.request(payload["method"], payload["params"])}
    except kodex.HostError as error:
        return {"error": error.code}


@plugin.hook("wait")
def wait(payload):
    while True:
        time.sleep(60)


@plugin.hook("org")
def org(payload, ctx):
    return ctx.config


@plugin.tool("count", description="Counts the words of a text.")
def count(payload):
    if type(payload) is not dict or type(payload.get("text")) is not str:
        raise kodex.ToolInputError("text must be a string")
    return {"words": len(payload["text"].split())}


@plugin.hook("db")
def database(payload):
    try:
        return DB[payload["do"]](payload)
    except kodex.HostError as error:
        return {"error": error.code}


def given(payload):
    return payload["sql"], payload.get("params", ())


def query_one(payload):
    row = kodex.db.query_one(*given(payload))
    return {"row": None if row is None else row.as_dict()}


def copy(payload):
    rows = kodex.db.query(payload["from"])
    return sum(kodex.db.execute(payload["to"], tuple(row)) for row in rows)


def pages(payload):
    read = []
    for row in kodex.db.pages(payload["sql"], payload.get("params", ()), payload["n_rows"]):
        read.append(row[0])
        if len(read) == payload.get("stop_after"):
            break
    return read


def transaction(payload):
    with kodex.db.transaction():
        changed = [kodex.db.execute(sql) for sql in payload["statements"]]
        try:
            if "inside" in payload:
                with kodex.db.transaction():
                    changed += [kodex.db.execute(sql) for sql in payload["inside"]]
        except kodex.DbConstraint as error:
            changed.append(error.code)
        if "raise" in payload:
            raise RuntimeError(payload["raise"])
    return changed


DB = {
    "query": lambda payload: kodex.db.query(*given(payload)).dicts(),
    "query_one": query_one,
    "execute": lambda payload: kodex.db.execute(*given(payload)),
    "copy": copy,
    "pages": pages,
    "transaction": transaction,
}


@plugin.hook("state")
def values(payload, ctx):
    payload = dict(payload)
    do = payload.pop("do")
    if "ttl_ms" in payload:
        payload["ttl"] = payload.pop("ttl_ms") / 1000
    try:
        return STATE[do](ctx.state, **payload) if do in STATE else getattr(ctx.state, do)(**payload)
    except kodex.HostError as error:
        return {"error": error.code}


def lock(state, key, ttl, set, value, renew_ms=None):
    with state.lock(key, ttl) as lease:
        if renew_ms is not None:
            lease.renew(renew_ms / 1000)
        return state.set(set, value, under=lease)


STATE = {
    "get": lambda state, key: {"value": state.get(key, "nothing")},
    "increment": lambda state, key: state.update(key, lambda n: n + 1, 0),
    "list": lambda state, prefix: [[key, key.version] for key in state.list(prefix)],
    "lock": lock,
}


@plugin.hook("agent")
def runs(payload, ctx):
    payload = dict(payload)
    do = payload.pop("do")
    try:
        return WORK[do](ctx.agent, payload)
    except kodex.HostError as error:
        return {"error": error.code}


@plugin.hook("job")
def jobs(payload, ctx):
    payload = dict(payload)
    do = payload.pop("do")
    try:
        return WORK[do](ctx.jobs, payload)
    except kodex.HostError as error:
        return {"error": error.code}


def dispatch(agent, asked):
    for place in ("to", "source"):
        if place in asked:
            asked[place] = kodex.Destination(**asked[place])
    return accepted(agent.dispatch(**asked))


def enqueue(jobs, asked):
    if "delay_ms" in asked:
        asked["delay"] = asked.pop("delay_ms") / 1000
    return accepted(jobs.enqueue(**asked))


def accepted(done):
    return {"id": done.id, "new": done.is_new}


def find(door, asked):
    found = door.find(**asked)
    if found is None:
        return "nothing"
    at_ms = None if found.result_at is None else round(found.result_at * 1000)
    return [found.id, found.status, found.is_over, at_ms, found.error]


WORK = {
    "dispatch": dispatch,
    "enqueue": enqueue,
    "find": find,
    "cancel": lambda door, asked: door.cancel(**asked),
}


@plugin.heartbeat
def beat(beat):
    day = int(beat.now // 86_400)
    beat.agent.dispatch(f"day {day}", ("file", "report.md"), "Report.")


@plugin.job("send")
def send(job):
    try:
        known = job.effect("sent", job.params["text"])
    except kodex.HostError as error:
        return {"error": error.code}
    if "raise" in job.params:
        raise RuntimeError(job.params["raise"])
    return {"id": job.id, "attempt": job.attempt, "first": known.first, "value": known.value}


@plugin.job("ask")
def ask_for_run(job):
    return accepted(job.agent.dispatch(job.id, ("file", "report.md"), job.params["input"]))


@plugin.job("session.completed")
def session_completed(job):
    return [job.session["session_id"], [one["text"] for one in job.session["messages"]]]


@plugin.step("0001_fill")
def fill(step):
    n = (step.progress or {"n": 0})["n"] + 1
    step.save({"n": n}, scanned=n)
    return {"scanned": n, "migrated": n}


@plugin.step("0002_quiet")
def quiet(step):
    step.save("half", scanned=3, skipped=0)


@plugin.step("0003_wrong")
def wrong(step):
    return {"eaten": 1}


@plugin.step("0004_raise")
def fail(step):
    raise RuntimeError("no")
