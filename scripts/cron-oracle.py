#!/usr/bin/env python3
"""Random cron expressions with what Python's croniter makes of them, for the test `cron_agrees_with_croniter`.

    pip install croniter
    scripts/cron-oracle.py CASES [SEED] [ZONE...] > cases.jsonl

Each line is a JSON list: expression, zone, start, the next five ticks; times in seconds since 1970. Expressions with
six fields start with the second. Half of the starts lie within two days of a change of the zone's clock. Without
zones, all that this machine knows are used. The ticks are null where croniter finds none.
"""

import json
import random
import sys
from datetime import datetime, timedelta, timezone
from zoneinfo import ZoneInfo, available_timezones

from croniter import CroniterBadDateError, croniter

FROM, TO = datetime(2015, 1, 1, tzinfo=timezone.utc), datetime(2035, 1, 1, tzinfo=timezone.utc)
MONTHS = "JAN FEB MAR APR MAY JUN JUL AUG SEP OCT NOV DEC".split()
DAYS = "SUN MON TUE WED THU FRI SAT".split()


def changes(zone):
    """The seconds at which the zone's offset changes."""
    found, at, offset = [], FROM, FROM.astimezone(zone).utcoffset()
    while at < TO:
        after = at + timedelta(days=7)
        if after.astimezone(zone).utcoffset() != offset:
            low, high = int(at.timestamp()), int(after.timestamp())
            while high - low > 1:
                middle = (low + high) // 2
                if datetime.fromtimestamp(middle, zone).utcoffset() == offset:
                    low = middle
                else:
                    high = middle
            found.append(high)
            at = datetime.fromtimestamp(high, timezone.utc)
        else:
            at = after
        offset = at.astimezone(zone).utcoffset()
    return found


def field(rnd, low, high, star):
    kind = rnd.random()
    if kind < star:
        return "*"
    if kind < star + 0.15:
        return f"*/{rnd.choice([2, 3, 4, 5, 6, 7, 10, 12, 15, 20, 25, 30][: 6 if high < 30 else 12])}"
    one = lambda: rnd.randint(low, high)
    if kind < star + 0.25:
        a, b = sorted((one(), one()))
        return f"{a}-{b}" if rnd.random() < 0.6 else f"{a}-{b}/{rnd.randint(1, 7)}"
    if kind < star + 0.4:
        return ",".join(str(n) for n in sorted({one() for _ in range(rnd.randint(2, 4))}))
    return str(one())


def expression(rnd):
    minute = field(rnd, 0, 59, 0.1)
    # Hours at which clocks are changed are worth more.
    hour = field(rnd, 0, 23, 0.2) if rnd.random() < 0.5 else str(rnd.randint(0, 4))
    day = field(rnd, 1, 31, 0.6)
    month = field(rnd, 1, 12, 0.7)
    weekday = field(rnd, 0, 6, 0.6)
    special = rnd.random()
    if special < 0.06:
        day, weekday = "L", "*"
    elif special < 0.12:
        day, weekday = "*", f"{rnd.randint(0, 6)}#{rnd.randint(1, 4)}"
    elif special < 0.16:
        day, weekday = "*", ",".join(rnd.sample(DAYS, 2))
    elif special < 0.2:
        month = rnd.choice(MONTHS)
    fields = [minute, hour, day, month, weekday]
    if rnd.random() < 0.2:
        fields.insert(0, field(rnd, 0, 59, 0.05))
    return " ".join(fields)


def main():
    count = int(sys.argv[1])
    rnd = random.Random(int(sys.argv[2]) if len(sys.argv) > 2 else 1)
    names = sys.argv[3:] or sorted(n for n in available_timezones() if n not in ("localtime", "posixrules", "Factory"))
    zones = {name: ZoneInfo(name) for name in names}
    edges = {name: changes(zone) for name, zone in zones.items()}
    for i in range(count):
        name = names[i % len(names)]
        if edges[name] and rnd.random() < 0.5:
            start = rnd.choice(edges[name]) + rnd.randint(-2 * 86_400, 2 * 86_400)
        else:
            start = rnd.randint(int(FROM.timestamp()), int(TO.timestamp()))
        text = expression(rnd)
        try:
            it = croniter(text, datetime.fromtimestamp(start, zones[name]), second_at_beginning=True)
            ticks = [int(it.get_next(datetime).timestamp()) for _ in range(5)]
        except CroniterBadDateError:
            ticks = None
        print(json.dumps([text, name, start, ticks], separators=(",", ":")))


if __name__ == "__main__":
    main()
