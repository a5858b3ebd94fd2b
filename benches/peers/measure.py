"""The other end of the bench: one line of JSON asks for one sample, one line answers.

A peer is started once and asked in turns with Kodex, so that both see the same machine.
"""

import json
import sys


def answer(value):
    """Writes one answer."""
    print(json.dumps(value), flush=True)


def questions():
    """The samples that are asked for, until the bench closes the pipe."""
    for line in sys.stdin:
        yield json.loads(line)


def version(package):
    """The installed version of a package, or nothing."""
    from importlib import metadata

    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None
