"""Hooks in one Python process: pluggy, and the loop of the first Python runtime.

``python3 dispatch.py SDK``, where SDK is the folder that holds ``kodex_plugin_system``. Each question
is ``{"case": NAME, "handlers": N, "ms": SPAN}``, each answer ``{"ns": TIME}``: nanoseconds for each
handler. The handlers do what those of the bench do: a length and a sum.
"""

import sys
import time

from measure import answer, questions, version

HOOK = "prompt.preprocess"
ELSEWHERE = "other.hook"
PAYLOAD = {"text": "x" * 178, "n": 1}


def pluggy_round(n_handlers):
    import pluggy

    spec, implement = pluggy.HookspecMarker("bench"), pluggy.HookimplMarker("bench")

    class Hooks:
        @spec
        def preprocess(self, payload):
            """What every handler implements."""

    class Handler:
        def __init__(self, own):
            self.own = own

        @implement
        def preprocess(self, payload):
            return self.own + len(payload["text"])

    plugins = pluggy.PluginManager("bench")
    plugins.add_hookspecs(Hooks)
    for own in range(n_handlers):
        plugins.register(Handler(own), f"p{own}")
    return lambda: plugins.hook.preprocess(payload=PAYLOAD)


def first_runtime_round(n_handlers, hook=HOOK):
    from kodex_plugin_system import PluginManager, PluginManifest

    class Handler:
        def __init__(self, own):
            self.own = own
            self.manifest = PluginManifest(f"p{own}", "1.0.0", "Counts.")

        def activate(self, context):
            pass

        def handle_hook(self, hook, payload):
            if hook != HOOK:
                return None
            return self.own + len(payload["text"])

    plugins = PluginManager()
    for own in range(n_handlers):
        plugins.register(Handler(own))
    return lambda: plugins.emit(hook, PAYLOAD)


def not_subscribed_round(n_handlers):
    return first_runtime_round(n_handlers, ELSEWHERE)


ROUNDS = {
    "pluggy": pluggy_round,
    "first_runtime": first_runtime_round,
    "not_subscribed": not_subscribed_round,
}


def sample(call, span):
    """Seconds for one call, over about ``span`` seconds."""
    clock = time.perf_counter
    started = clock()
    for _ in range(20):
        call()
    turns = range(max(1, int(span / max((clock() - started) / 20, 1e-9))))
    started = clock()
    for _ in turns:
        call()
    return (clock() - started) / len(turns)


def main():
    sys.path.insert(0, sys.argv[1])
    answer({"pluggy": version("pluggy"), "python": sys.version.split()[0]})
    made = {}
    for question in questions():
        key = question["case"], question["handlers"]
        if key not in made:
            made[key] = ROUNDS[key[0]](key[1])
        answer({"ns": sample(made[key], question["ms"] / 1e3) / key[1] * 1e9})


if __name__ == "__main__":
    main()
