"""The plugin's own small values by key: the host's services ``state/*``.

Values are JSON. Locks are leases: who holds one longer than asked for loses it, and a write
``under`` a lost one is refused.
"""

from __future__ import annotations

from . import HostError
from ._scope import link_of, refuse_in_coroutine

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, AsyncIterator, Callable, Iterator

#: Attempts of ``update`` while others change the same value.
ATTEMPTS = 100
PAGE = 1000


class Entry:
    """A value with its version and, where it has one, the time at which it is gone."""

    __slots__ = ("value", "version", "expires_at")

    def __init__(self, found):
        self.value: Any = found["value"]
        #: Rises with every write of the key.
        self.version: int = found["version"]
        #: Seconds since 1970-01-01 UTC.
        self.expires_at: float | None = _seconds(found.get("expires_at_ms"))


class Key(str):
    """A key in a list: a text that also knows the version and size of its value."""

    __slots__ = ("version", "n_bytes", "expires_at")

    version: int
    n_bytes: int
    expires_at: float | None

    def __new__(cls, found):
        key = super().__new__(cls, found["key"])
        key.version = found["version"]
        key.n_bytes = found["bytes"]
        key.expires_at = _seconds(found.get("expires_at_ms"))
        return key


class Lease:
    """A lock that is held."""

    __slots__ = ("_lease", "_link")

    def __init__(self, lease, link):
        self._lease = lease
        self._link = link

    @property
    def key(self) -> str:
        """The lock's key."""
        return self._lease["key"]

    @property
    def token(self) -> int:
        """Higher than that of every earlier holder."""
        return self._lease["token"]

    @property
    def until(self) -> float:
        """Until when it is held, in seconds since 1970-01-01 UTC."""
        return self._lease["until_ms"] / 1000

    def renew(self, ttl: float = 30) -> None:
        """Holds it for so many seconds from now. Raises ``LeaseLost`` when it is lost."""
        refuse_in_coroutine("state")
        self._lease = self._link.request("state/renew", self._renewal(ttl))

    def _renewal(self, ttl):
        return {"lease": self._lease, "ttl_ms": _milliseconds(ttl)}


class AsyncLease(Lease):
    """A lock that a coroutine holds."""

    __slots__ = ()

    async def renew(self, ttl: float = 30) -> None:  # type: ignore[override]
        """See ``Lease.renew``."""
        self._lease = await self._link.request_async("state/renew", self._renewal(ttl))


class Lock:
    """``with state.lock("key", ttl=30) as lease:``; see ``State.lock``."""

    __slots__ = ("_link", "_asked", "_lease")

    def __init__(self, link, key, ttl):
        self._link = link
        self._asked = {"key": key, "ttl_ms": _milliseconds(ttl)}
        self._lease = None

    def __enter__(self) -> Lease:
        self._lease = Lease(self._link.request("state/lock", self._asked), self._link)
        return self._lease

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        try:
            self._link.request("state/unlock", {"lease": self._lease._lease})
        except HostError:
            # It ends by itself; the exception that leaves the block says more.
            if kind is None:
                raise


class AsyncLock:
    """``async with state.aio.lock("key", ttl=30) as lease:``; see ``State.lock``."""

    __slots__ = ("_link", "_asked", "_lease")

    def __init__(self, link, key, ttl):
        self._link = link
        self._asked = {"key": key, "ttl_ms": _milliseconds(ttl)}
        self._lease = None

    async def __aenter__(self) -> AsyncLease:
        taken = await self._link.request_async("state/lock", self._asked)
        self._lease = AsyncLease(taken, self._link)
        return self._lease

    async def __aexit__(self, kind: object, error: object, trace: object) -> None:
        try:
            await self._link.request_async("state/unlock", {"lease": self._lease._lease})
        except HostError:
            if kind is None:
                raise


class State:
    """The plugin's values for ordinary functions: ``kodex.state``, and also ``ctx.state``."""

    __slots__ = ("_link",)

    def __init__(self, link=None):
        self._link = link

    @property
    def aio(self) -> AsyncState:
        """The same for ``async def`` functions."""
        return AsyncState(self._link)

    def get(self, key: str, default: Any = None) -> Any:
        """The value of a key; the default when there is none or it has expired."""
        return self._ask("state/get", {"key": key}).get("value", default)

    def entry(self, key: str) -> Entry | None:
        """The value with its version."""
        found = self._ask("state/get", {"key": key})
        return Entry(found) if "value" in found else None

    def set(
        self, key: str, value: Any, *, ttl: float | None = None, under: Lease | None = None
    ) -> int:
        """Sets a value, for good or for ``ttl`` seconds; gives its version.

        ``under`` a lock that is no longer held nothing is set and ``LeaseLost`` is raised.
        """
        return self._ask("state/set", _write(key, value, ttl, under))["version"]

    def set_if_absent(
        self, key: str, value: Any, *, ttl: float | None = None, under: Lease | None = None
    ) -> bool:
        """Sets a value unless there is one; says whether it did."""
        return self.compare_and_swap(key, value, version=0, ttl=ttl, under=under)

    def compare_and_swap(
        self,
        key: str,
        value: Any,
        *,
        version: int,
        ttl: float | None = None,
        under: Lease | None = None,
    ) -> bool:
        """Sets a value if the present one has this version, 0 for none; says whether it did."""
        return self._ask("state/set", _write(key, value, ttl, under, version))["done"]

    def update(
        self,
        key: str,
        change: Callable[[Any], Any],
        default: Any = None,
        *,
        ttl: float | None = None,
    ) -> Any:
        """Replaces a value by ``change(value)`` and gives the new one.

        When somebody else is faster, ``change`` is called again with what they wrote.
        """
        for _ in range(ATTEMPTS):
            found = self._ask("state/get", {"key": key})
            value = change(found.get("value", default))
            version = found.get("version", 0)
            if self.compare_and_swap(key, value, version=version, ttl=ttl):
                return value
        raise _contended(key)

    def delete(self, key: str, *, version: int | None = None, under: Lease | None = None) -> bool:
        """Deletes a value, if it has the version; says whether there was one to delete."""
        return _deleted(self._ask("state/delete", _deletion(key, version, under)))

    def list(self, prefix: str = "") -> Iterator[Key]:
        """The keys that begin with a text, in byte order."""
        after = None
        while True:
            page = self._ask("state/list", _listing(prefix, after))
            yield from map(Key, page["keys"])
            after = page.get("after")
            if after is None:
                return

    def lock(self, key: str, ttl: float = 30) -> Lock:
        """``with state.lock("key", ttl=30) as lease:`` holds a lock for at most ``ttl`` seconds.

        Raises ``StateLocked`` when somebody holds it. It is given back at the end of the block,
        whatever happens there. Who works longer renews the lease, and writes ``under=lease``.
        """
        return Lock(self._ready(), key, ttl)

    def _ready(self):
        refuse_in_coroutine("state")
        return self._link or link_of("kodex.state")

    def _ask(self, method, asked):
        return self._ready().request(method, asked)


class AsyncState:
    """The plugin's values for ``async def`` functions: the names of ``State``, awaited."""

    __slots__ = ("_link",)

    def __init__(self, link=None):
        self._link = link

    async def get(self, key: str, default: Any = None) -> Any:
        """See ``State.get``."""
        return (await self._ask("state/get", {"key": key})).get("value", default)

    async def entry(self, key: str) -> Entry | None:
        """See ``State.entry``."""
        found = await self._ask("state/get", {"key": key})
        return Entry(found) if "value" in found else None

    async def set(
        self, key: str, value: Any, *, ttl: float | None = None, under: Lease | None = None
    ) -> int:
        """See ``State.set``."""
        return (await self._ask("state/set", _write(key, value, ttl, under)))["version"]

    async def set_if_absent(
        self, key: str, value: Any, *, ttl: float | None = None, under: Lease | None = None
    ) -> bool:
        """See ``State.set_if_absent``."""
        return await self.compare_and_swap(key, value, version=0, ttl=ttl, under=under)

    async def compare_and_swap(
        self,
        key: str,
        value: Any,
        *,
        version: int,
        ttl: float | None = None,
        under: Lease | None = None,
    ) -> bool:
        """See ``State.compare_and_swap``."""
        return (await self._ask("state/set", _write(key, value, ttl, under, version)))["done"]

    async def update(
        self,
        key: str,
        change: Callable[[Any], Any],
        default: Any = None,
        *,
        ttl: float | None = None,
    ) -> Any:
        """See ``State.update``."""
        for _ in range(ATTEMPTS):
            found = await self._ask("state/get", {"key": key})
            value = change(found.get("value", default))
            version = found.get("version", 0)
            if await self.compare_and_swap(key, value, version=version, ttl=ttl):
                return value
        raise _contended(key)

    async def delete(
        self, key: str, *, version: int | None = None, under: Lease | None = None
    ) -> bool:
        """See ``State.delete``."""
        return _deleted(await self._ask("state/delete", _deletion(key, version, under)))

    async def list(self, prefix: str = "") -> AsyncIterator[Key]:
        """See ``State.list``."""
        after = None
        while True:
            page = await self._ask("state/list", _listing(prefix, after))
            for found in page["keys"]:
                yield Key(found)
            after = page.get("after")
            if after is None:
                return

    def lock(self, key: str, ttl: float = 30) -> AsyncLock:
        """See ``State.lock``."""
        return AsyncLock(self._link or link_of("kodex.state"), key, ttl)

    async def _ask(self, method, asked):
        return await (self._link or link_of("kodex.state")).request_async(method, asked)


def _write(key, value, ttl, under, version=None):
    asked = {"key": key, "value": value}
    if ttl is not None:
        asked["ttl_ms"] = _milliseconds(ttl)
    return _condition(asked, version, under)


def _deletion(key, version, under):
    return _condition({"key": key}, version, under)


def _condition(asked, version, under):
    if version is not None:
        asked["if_version"] = version
    if under is not None:
        asked["under"] = under._lease
    return asked


def _deleted(written):
    return written["done"] and written["version"] > 0


def _listing(prefix, after):
    asked = {"prefix": prefix, "limit": PAGE}
    return asked if after is None else {**asked, "after": after}


def _milliseconds(ttl):
    # Never less than asked for; the host refuses what is out of bounds.
    return -int(-ttl * 1000 // 1)


def _seconds(ms):
    return None if ms is None else ms / 1000


def _contended(key):
    return HostError(
        f"the value of {key!r} was changed by others {ATTEMPTS} times", "state.contended"
    )


#: The values of the plugin in this process.
state = State()
