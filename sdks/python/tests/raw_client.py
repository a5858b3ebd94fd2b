"""A host made of two pipes: it knows lines and JSON and nothing of the SDK that it drives."""

import json
import os
import select
import subprocess
import sys
import tempfile
import textwrap
import time

HERE = os.path.dirname(os.path.abspath(__file__))
SDK = os.path.join(os.path.dirname(HERE), "src")
WORKER = os.path.join(SDK, "kodex", "_worker.py")
#: Long enough for a loaded machine; only a failing test waits so long.
PATIENCE = 30.0
FEATURES = ["agent", "cancel", "clock", "db", "job", "log", "state", "step"]


class Silence(AssertionError):
    """The worker said nothing for too long."""


class RawClient:
    """One worker or inspector and the pipes to it."""

    def __init__(self, *arguments, cwd=None, python=sys.executable):
        self.errors = tempfile.TemporaryFile()
        self.process = subprocess.Popen(
            [python, "-I", WORKER, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.errors,
            bufsize=0,
            cwd=cwd,
            start_new_session=True,
        )
        self.buffer = b""
        self.n_sent = 0

    def __enter__(self):
        return self

    def __exit__(self, *raised):
        self.process.kill()
        self.process.wait()
        for stream in (self.process.stdin, self.process.stdout, self.errors):
            stream.close()

    def send_bytes(self, data):
        """Writes without waiting for the reader to make room while it waits for us."""
        out = self.process.stdin.fileno()
        os.set_blocking(out, False)
        until = time.monotonic() + PATIENCE
        while data:
            if time.monotonic() > until:
                raise Silence("the worker does not read")
            readable, writable, _ = select.select([self.process.stdout], [out], [], 1)
            if readable:
                self.buffer += os.read(self.process.stdout.fileno(), 1 << 16)
            if writable:
                data = data[os.write(out, data[: 1 << 16]) :]

    def send_line(self, line):
        self.send_bytes(line.encode("utf-8", "surrogatepass") + b"\n")

    def send(self, **message):
        self.send_line(json.dumps({"jsonrpc": "2.0", **message}))

    def line(self, patience=PATIENCE):
        """The next line as text; an empty text at the end."""
        until = time.monotonic() + patience
        while b"\n" not in self.buffer:
            left = until - time.monotonic()
            if left <= 0 or not select.select([self.process.stdout], [], [], left)[0]:
                raise Silence(f"no line came; the worker's log: {self.log()[-2000:]}")
            chunk = os.read(self.process.stdout.fileno(), 1 << 16)
            if not chunk:
                return ""
            self.buffer += chunk
        line, _, self.buffer = self.buffer.partition(b"\n")
        return line.decode()

    def message(self, patience=PATIENCE):
        line = self.line(patience)
        if not line:
            raise AssertionError(f"the worker ended; its log: {self.log()[-2000:]}")
        return json.loads(line)

    def request(self, method, params=None):
        """Sends a request and reads the next message."""
        self.n_sent += 1
        self.send(id=self.n_sent, method=method, params=params)
        return self.message()

    def initialize(self, plugin, context=None, features=FEATURES):
        params = {
            "contract": {"version": 1, "features": features},
            "host": {"name": "kodex", "version": "0.1.0"},
            "plugin": plugin,
            "context": context or {},
            "grants": [],
            "limits": {"frame_bytes": 1 << 20, "depth": 64},
        }
        return self.request("initialize", params)

    def start_call(self, name, payload=None, kind="hook", timeout=10.0):
        """Sends a call; returns its id."""
        self.n_sent += 1
        params = {
            "kind": kind,
            "name": name,
            "payload": {} if payload is None else payload,
            "timeout_ms": int(timeout * 1000),
            "deadline_unix_ms": int((time.time() + timeout) * 1000),
        }
        self.send(id=self.n_sent, method="call", params=params)
        return self.n_sent

    def call(self, name, payload=None, **more):
        """Calls; returns the result, or the error as ``(number, message, code)``."""
        ident = self.start_call(name, payload, **more)
        return self.outcome(ident)

    def outcome(self, ident):
        """What the next message, which must answer ``ident``, says."""
        answer = self.message()
        assert answer["id"] == ident, (answer, ident)
        return said(answer)

    def close(self):
        self.process.stdin.close()

    def exit_status(self):
        return self.process.wait(PATIENCE)

    def log(self):
        self.errors.seek(0)
        return self.errors.read().decode()


def said(answer):
    """The result of an answer, or the error as ``(number, message, code)``."""
    if "error" in answer:
        error = answer["error"]
        return error["code"], error["message"], error["data"]["code"]
    return answer["result"]


class Folder(tempfile.TemporaryDirectory):
    """A folder that a test fills with plugin files."""

    def write(self, name, source):
        path = os.path.join(self.name, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w", encoding="utf-8") as file:
            file.write(textwrap.dedent(source))
        return path
