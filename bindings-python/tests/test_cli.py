"""`python -m levqor` is the command line."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path


def run(tmp_path: Path, *args: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "levqor", "--url", f"sqlite://{tmp_path}/x.db", "--json", *args]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


def test_the_command_line_is_the_same(tmp_path: Path) -> None:
    assert json.loads(run(tmp_path, "credits", "grant", "acme", "100").stdout)
    balance = run(tmp_path, "credits", "balance", "acme")
    assert balance.returncode == 0 and "100" in balance.stdout and json.loads(balance.stdout)
    wrong = run(tmp_path, "credits", "spend", "acme", "1000")
    assert wrong.returncode == 4 and json.loads(wrong.stderr)["code"] == "ledger.insufficient_credits"
    assert run(tmp_path, "nonsense").returncode == 2
    assert subprocess.run([sys.executable, "-m", "levqor", "--version"], capture_output=True, text=True).stdout.startswith("levqor ")
