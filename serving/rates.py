"""How much a client may ask: token buckets per key or address, and few guesses of keys.

Belongs here: the buckets and how their state is told. Does not: who a client is (`security`, `addresses`). The buckets
are those of this process: with several, each allows the rate. They are used in the event loop alone, and bounded: the
client that has not asked for longest is forgotten first.
"""

import math
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field

CLIENTS_AT_MOST = 10_000
DEFAULT_RATE = 100.0
"""Requests per second of a key where keys are configured and nothing else is: about what two cores answer."""

GUESSES = 20
"""Different wrong keys from one address before it must wait."""
GUESSES_PER_SECOND = 1 / 3
_REMEMBERED_GUESSES = 8


@dataclass(slots=True)
class Bucket:
    """What a client may still ask for."""

    tokens: float
    at: float
    guesses: list[bytes] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a bucket says of one request."""

    remaining: int
    """Requests that may follow at once."""
    wait: float
    """Seconds until a request is allowed; 0 where this one is."""


class Buckets:
    """Token buckets by client."""

    def __init__(self, rate: float, burst: int, clock: Callable[[], float] = time.monotonic) -> None:
        self.rate = rate
        self.burst = burst
        self._clock = clock
        self._kept: OrderedDict[str, Bucket] = OrderedDict()

    def __len__(self) -> int:
        return len(self._kept)

    def __contains__(self, client: str) -> bool:
        return client in self._kept

    def of(self, client: str) -> Bucket:
        """The bucket of a client, filled up to this moment."""
        now = self._clock()
        bucket = self._kept.get(client)
        if bucket is None:
            bucket = self._kept[client] = Bucket(float(self.burst), now)
            if len(self._kept) > CLIENTS_AT_MOST:
                self._kept.popitem(last=False)
            return bucket
        self._kept.move_to_end(client)
        bucket.tokens = min(float(self.burst), bucket.tokens + (now - bucket.at) * self.rate)
        bucket.at = now
        return bucket

    def take(self, client: str) -> Verdict:
        """Ask for one request."""
        bucket = self.of(client)
        if bucket.tokens < 1:
            return Verdict(0, (1 - bucket.tokens) / self.rate)
        bucket.tokens -= 1
        return Verdict(int(bucket.tokens), 0.0)

    def headers(self, verdict: Verdict) -> dict[str, str]:
        """The state as draft-ietf-httpapi-ratelimit-headers writes it: quota, window, what remains, until when."""
        window = max(1, math.ceil(self.burst / self.rate))
        until = max(1, math.ceil(verdict.wait or (self.burst - verdict.remaining) / self.rate))
        return {
            "RateLimit-Policy": f'"default";q={self.burst};w={window}',
            "RateLimit": f'"default";r={verdict.remaining};t={until}',
        }


class Guesses:
    """Wrong keys by address. The same wrong key sent again is a mistake, not a guess, and does not count twice."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._buckets = Buckets(GUESSES_PER_SECOND, GUESSES, clock)

    def wait(self, address: str) -> float:
        """Seconds until keys from an address are looked at again; 0: they are."""
        if address not in self._buckets:
            return 0.0
        bucket = self._buckets.of(address)
        return 0.0 if bucket.tokens >= 1 else (1 - bucket.tokens) / GUESSES_PER_SECOND

    def note(self, address: str, digest: bytes) -> None:
        """Count a wrong key, known by its digest."""
        bucket = self._buckets.of(address)
        if digest in bucket.guesses:
            return
        bucket.guesses = [*bucket.guesses, digest][-_REMEMBERED_GUESSES:]
        bucket.tokens = max(0.0, bucket.tokens - 1)
