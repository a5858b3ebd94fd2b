"""The program that the host starts: one plugin in one process.

``python3 -I _worker.py --file /abs/plugin.py [--root DIR] [--attr NAME]``
``python3 -I _worker.py --object module:attribute --path DIR ...``
``python3 -I _worker.py --inspect``

It takes the two protocol pipes away from the plugin before any of its code runs: what the plugin
prints, and what the programs that it starts print, goes to standard error.
"""

import os
import sys


def take_pipes():
    """Moves the protocol off the standard descriptors; returns the private ones."""
    source, sink = os.dup(0), os.dup(1)
    nothing = os.open(os.devnull, os.O_RDWR)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(2, 1)
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(encoding="utf-8", errors="backslashreplace", line_buffering=True)
    return source, sink


def read_arguments(words):
    """``--name value`` pairs as a dict of lists."""
    given = {}
    words = iter(words)
    for word in words:
        if word == "--inspect":
            given["inspect"] = []
        elif word in ("--file", "--object", "--attr", "--root", "--path"):
            given.setdefault(word[2:], []).append(next(words, ""))
        else:
            sys.exit(f"unknown argument {word!r}")
    if ("file" in given) + ("object" in given) + ("inspect" in given) != 1:
        sys.exit("give one of --file, --object and --inspect")
    return given


def main():
    """Runs until the host is done."""
    given = read_arguments(sys.argv[1:])
    source, sink = take_pipes()
    home = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    sys.path.insert(0, home)
    if "inspect" in given:
        from kodex._inspect import Inspector as Role
    else:
        from kodex._serve import Worker as Role
    # The host watches plugin folders; loading a plugin must not change one.
    sys.dont_write_bytecode = True
    Role(source, sink, given).run()


if __name__ == "__main__":
    main()
