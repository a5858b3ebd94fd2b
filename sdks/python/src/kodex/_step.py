"""What a data step of the plugin's journal is given, and what it answers with."""

from __future__ import annotations

from . import Context

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

COUNTERS = ("scanned", "migrated", "existing", "missing", "skipped")


class Step(Context):
    """A context that remembers how far a step is."""

    __slots__ = ("progress", "_counts")

    def __init__(self, context, payload):
        super().__init__(context._link, context.kind, context.name, context._due)
        #: What was saved last, before an interruption; ``None`` when the step begins anew.
        self.progress: Any = payload.get("progress")
        self._counts = {}

    def save(self, progress: Any, **counts: int) -> None:
        """Remembers how far the step is, for after a crash, and tells the counters so far."""
        self._link.request("step/progress", self._saved(progress, counts))

    async def save_async(self, progress: Any, **counts: int) -> None:
        """As ``save``, for ``async def`` steps."""
        await self._link.request_async("step/progress", self._saved(progress, counts))

    def _saved(self, progress, counts):
        self._counts = _checked(counts)
        self.progress = progress
        asked = {"progress": progress}
        return {**asked, "counts": counts} if counts else asked

    def reply(self, returned):
        """What the host is told at the end: the returned counters, or those saved last."""
        counts = self._counts if returned is None else _checked(returned)
        return {name: counts[name] for name in COUNTERS if counts.get(name) is not None}


def _checked(counts):
    if not isinstance(counts, dict):
        raise TypeError(f"a step returns its counters as a dict, or None, not {counts!r}")
    for name, count in counts.items():
        if name not in COUNTERS:
            raise TypeError(f"a step has no counter {name!r}; there are {', '.join(COUNTERS)}")
        if type(count) is not int or count < 0:
            raise TypeError(f"the counter {name!r} is a whole number from 0 up, not {count!r}")
    return counts
