"""Values of ``kodex.testing`` behind the methods ``state/*``, with a host's rules and bounds."""

from . import host_error
from ._json import dumps

KEY_CHARS = 512
VALUE_BYTES = 256 << 10
N_KEYS = 100_000
MAX_TTL_MS = 10 * 366 * 24 * 3_600_000
MAX_LEASE_MS = 24 * 3_600_000
PAGE = 1_000


class FakeValues:
    """One plugin's values and locks, on a clock that is moved by hand."""

    def __init__(self, plugin, clock):
        self.plugin = plugin
        self.clock = clock
        self._values = {}
        self._leases = {}
        self._version = 0

    def services(self):
        """The methods and what answers them."""
        return {
            "state/get": self.get,
            "state/set": self.set,
            "state/delete": self.delete,
            "state/list": self.list,
            "state/lock": self.lock,
            "state/renew": self.renew,
            "state/unlock": self.unlock,
        }

    def get(self, params):
        """Reads a value."""
        found = self._living(self._key(params))
        return {} if found is None else {name: found[name] for name in found if name != "bytes"}

    def set(self, params):
        """Writes a value."""
        key = self._key(params)
        n_bytes = len(dumps(params["value"]))
        if n_bytes > VALUE_BYTES:
            why = f"the value of {key!r} has {n_bytes} bytes; at most {VALUE_BYTES} are allowed"
            raise self._error(why, "state.too_large")
        ttl_ms = params.get("ttl_ms")
        if ttl_ms is not None:
            self._check_ttl(ttl_ms, MAX_TTL_MS)
        present = self._version_of(key, params)
        if present is not None:
            return {"done": False, "version": present}
        if key not in self._values and len(self._values) >= N_KEYS:
            why = f"holds {N_KEYS} keys, the most there may be; delete some"
            raise self._error(why, "state.too_many_keys")
        self._version += 1
        kept = {"value": params["value"], "version": self._version, "bytes": n_bytes}
        if ttl_ms is not None:
            kept["expires_at_ms"] = self._now_ms() + ttl_ms
        self._values[key] = kept
        return {"done": True, "version": self._version}

    def delete(self, params):
        """Deletes a value."""
        key = self._key(params)
        present = self._version_of(key, params)
        if present is not None:
            return {"done": False, "version": present}
        found = self._values.pop(key, None)
        return {"done": True, "version": found["version"] if found else 0}

    def list(self, params):
        """Lists a page of keys."""
        prefix, after = params.get("prefix", ""), params.get("after")
        limit = min(params.get("limit", PAGE), PAGE)
        keys = sorted((key for key in list(self._values) if self._living(key)), key=str.encode)
        keys = [key for key in keys if key.startswith(prefix)]
        if after is not None:
            keys = [key for key in keys if key.encode() > after.encode()]
        page = {"keys": [self._shown(key) for key in keys[:limit]]}
        return {**page, "after": keys[limit - 1]} if len(keys) > limit else page

    def lock(self, params):
        """Takes a lock."""
        key = self._key(params)
        self._check_ttl(params["ttl_ms"], MAX_LEASE_MS)
        token, until_ms = self._leases.get(key, (0, 0))
        if until_ms > self._now_ms():
            raise self._error(f"the lock {key!r} is held", "state.locked")
        return self._lease(key, token + 1, params["ttl_ms"])

    def renew(self, params):
        """Prolongs a lock."""
        self._check_ttl(params["ttl_ms"], MAX_LEASE_MS)
        lease = params["lease"]
        self._check_held(lease)
        return self._lease(lease["key"], lease["token"], params["ttl_ms"])

    def unlock(self, params):
        """Gives a lock back."""
        lease = params["lease"]
        held = self._is_held(lease)
        if held:
            # The token stays, so that the next holder's is higher.
            self._leases[lease["key"]] = (lease["token"], 0)
        return {"held": held}

    def _lease(self, key, token, ttl_ms):
        until_ms = self._now_ms() + ttl_ms
        self._leases[key] = (token, until_ms)
        return {"key": key, "token": token, "until_ms": until_ms}

    def _is_held(self, lease):
        token, until_ms = self._leases.get(lease["key"], (0, 0))
        return token == lease["token"] and until_ms > self._now_ms()

    def _check_held(self, lease):
        if not self._is_held(lease):
            why = f"the lock {lease['key']!r} is no longer held under this token"
            raise self._error(f"{why}; nothing was changed", "state.lease_lost")

    def _version_of(self, key, params):
        """The version that keeps a write from happening, if any."""
        if "under" in params:
            self._check_held(params["under"])
        found = self._living(key)
        version = found["version"] if found else 0
        return None if params.get("if_version", version) == version else version

    def _living(self, key):
        found = self._values.get(key)
        if found is not None and found.get("expires_at_ms", self._now_ms() + 1) <= self._now_ms():
            del self._values[key]
            return None
        return found

    def _shown(self, key):
        found = self._values[key]
        return {"key": key, **{name: found[name] for name in found if name != "value"}}

    def _key(self, params):
        key, problem = params["key"], None
        if not key.strip():
            problem = "is blank"
        elif len(key) > KEY_CHARS:
            problem = f"is longer than {KEY_CHARS} characters"
        elif "\0" in key:
            problem = "holds a NUL character"
        if problem:
            raise self._error(f"the state key {key[:40]!r} {problem}", "state.key")
        return key

    def _check_ttl(self, ttl_ms, limit_ms):
        if not 1 <= ttl_ms <= limit_ms:
            why = f"a time of {ttl_ms} ms is out of bounds; 1 to {limit_ms} are allowed"
            raise self._error(why, "state.ttl")

    def _now_ms(self):
        return round(self.clock.now * 1000)

    def _error(self, problem, code):
        return host_error(f"plugin {self.plugin}: {problem}", code)
