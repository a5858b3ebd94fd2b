"""A plugin that takes its process down on every second prompt."""

import os

from kodex import Plugin

plugin = Plugin("flaky", "0.1.0", "Crashes now and then.")
seen = []


@plugin.hook("prompt.preprocess")
def on_prompt(payload):
    seen.append(payload["text"])
    if "crash" in payload["text"]:
        os._exit(3)
    return {"text": payload["text"] + " (seen by flaky)"}


def get_plugin():
    return plugin
