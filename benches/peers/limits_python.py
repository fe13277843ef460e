"""Limits in the memory of one Python process: `limits` with its three strategies, and Levqor from Python.

    limits_python.py peer|ours

Nanoseconds per call with 1, 100,000 and 1,000,000 keys that are there already, asked for without a pattern. The quota
is 1,000 per second: with many keys every call passes; one key is refused most of the time, the cheaper case of the peer.
"""

import random
import sys
import time

from figures import figure

CALLS = 200_000
SIZES = [(1, "1 key"), (100_000, "100 k keys"), (1_000_000, "1 M keys")]


def measure(hit, keys):
    for key in keys:
        hit(key)
    order = random.choices(keys, k=CALLS)
    rounds = []
    for _ in range(3):
        start = time.perf_counter_ns()
        for key in order:
            hit(key)
        rounds.append((time.perf_counter_ns() - start) / CALLS)
    return sorted(rounds)[1]


def peers():
    from limits import RateLimitItemPerSecond
    from limits.storage import MemoryStorage
    from limits.strategies import FixedWindowRateLimiter, MovingWindowRateLimiter, SlidingWindowCounterRateLimiter

    item = RateLimitItemPerSecond(1_000)
    for name, strategy in [
        ("fixed", FixedWindowRateLimiter),
        ("moving", MovingWindowRateLimiter),
        ("sliding", SlidingWindowCounterRateLimiter),
    ]:
        for count, label in SIZES:
            limiter = strategy(MemoryStorage())
            hit = lambda key: limiter.hit(item, key)
            figure("limits-python", f"limits, {name}", "limits", f"from Python, {label}", measure(hit, keys_of(count)), "ns")


def ours():
    # The one place that knows how a host asks.
    import levqor

    engine = levqor.open("memory://")
    for count, label in SIZES:
        take = engine.limiter(f"bench {count}", "1000/second").take
        figure("limits-python", "levqor", "levqor", f"from Python, {label}", measure(take, keys_of(count)), "ns")


def keys_of(count):
    return [f"user-{n:08}" for n in range(count)]


if __name__ == "__main__":
    {"peer": peers, "ours": ours}[sys.argv[1]]()
