"""What every Python peer needs: its surroundings, its figures as JSON lines, and percentiles."""

import json
import os
from importlib.metadata import version

POSTGRES = os.environ.get("PEER_POSTGRES", "")
REDIS = os.environ.get("PEER_REDIS", "")
FOLDER = os.environ.get("PEER_FOLDER", ".")
SECONDS = float(os.environ.get("PEER_SECONDS", "3"))
COUNT = int(os.environ.get("PEER_COUNT", "1000"))


def figure(section, peer, package, name, value, unit):
    line = {"section": section, "peer": peer, "version": version(package), "name": name, "value": value, "unit": unit}
    print(json.dumps(line), flush=True)


def quantile(times, q):
    times = sorted(times)
    return times[min(int(len(times) * q), len(times) - 1)] if times else 0.0
