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
