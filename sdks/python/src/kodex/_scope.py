"""Which plugin this process is: for ``kodex.db`` and ``kodex.state``, which have no context."""

import sys

#: The link of the plugin that is active in this process; a test may have several one after another.
active = None


def link_of(door):
    """The active plugin's way to the host."""
    if active is None:
        why = "the plugin is not active; in a test, make a kodex.testing.FakeHost first"
        raise RuntimeError(f"{door} was used outside of a running plugin: {why}")
    return active


def refuse_in_coroutine(door):
    """A wait here would hold up every other call, among them the one that is waited for."""
    asyncio = sys.modules.get("asyncio")
    if asyncio is None or asyncio._get_running_loop() is None or asyncio.current_task() is None:
        return
    why = f"write `await {door}.aio...`, or run the function with `await asyncio.to_thread(...)`"
    raise RuntimeError(f"{door} waits, and a coroutine must not: {why}")
