"""What a plugin reaches its host through, inside a worker: requests and log lines."""

import sys
from time import time

from . import Clock, Log
from ._answer import MESSAGE
from ._frame import shorten
from ._json import Unsendable, dumps

#: Fields of a log line that are larger become short texts.
FIELDS = 64 << 10


class HostLink:
    """The plugin's way to the host."""

    def __init__(self, worker, params, offered):
        context, grants = params.get("context"), params.get("grants")
        self.worker = worker
        self.offered = offered
        self.plugin = params["plugin"]
        self.config = context if type(context) is dict else {}
        self.grants = tuple(grants) if type(grants) is list else ()
        self.log_door = Log(self)
        self.clock_door = Clock(self)

    def request(self, method, params):
        """Asks the host and waits."""
        if method == "clock/now" and "clock" not in self.offered:
            return {"unix_ms": int(time() * 1000)}
        with self.worker.deadline.shut():
            return self.worker.channel.request(method, params)

    async def request_async(self, method, params):
        """Asks the host; other calls go on meanwhile."""
        if self.worker.tasks is None:
            return self.request(method, params)
        return await self.worker.tasks.request(method, params)

    def call_id(self):
        """The id of the call that is being answered here; the host cleans up after it."""
        worker = self.worker
        ident = worker.running if worker.deadline.is_mine() else None
        if ident is None and worker.tasks is not None:
            ident = worker.tasks.call_id()
        return ident if type(ident) is int else None

    def log(self, level, message, fields):
        """Sends a line to the plugin's log."""
        try:
            params = _log_params(level, shorten(str(message), MESSAGE), fields)
            with self.worker.deadline.shut():
                if "log" in self.offered and self.worker.channel.pace.take():
                    self.worker.channel.notify("log", params)
                else:
                    print(f"{level}: {message}", fields or "", file=sys.stderr)
        except Exception as error:
            # A log line is never worth a call: neither a text that raises nor a host that is gone.
            print(f"a log line was lost: {type(error).__name__}", file=sys.stderr)


def _log_params(level, message, fields):
    params = {"level": level, "message": message}
    if fields:
        try:
            small = len(dumps(fields)) <= FIELDS
        except Unsendable:
            small = False
        if not small:
            fields = {name: shorten(repr(value), 200) for name, value in list(fields.items())[:50]}
        params["fields"] = fields
    return params
