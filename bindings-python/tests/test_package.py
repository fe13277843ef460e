"""The package as people get it: README, types, stubs."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parents[1]


def blocks() -> list[str]:
    return re.findall(r"```python\n(.*?)```", (HERE / "README.md").read_text(), re.DOTALL)


def python(code: str, cwd: Path) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=cwd, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_lines_of_the_readme_run_as_printed(tmp_path: Path) -> None:
    assert python(blocks()[0], tmp_path).split() == ["59", "42", "100"]
    use = """
app = create_app()
with app.app_context():
    lq.credits.grant("acme", 10)
    key = lq.keys.create("k", account="acme", scopes=["runs:write"]).text
answer = app.test_client().post("/api/v1/run", json={"email": "a@b.c"}, headers={"Authorization": f"Bearer {key}", "Idempotency-Key": "1"})
print(answer.status_code, answer.json["credits"])
with app.app_context():
    lq.worker().drain()
    print(lq.credits.balance("acme").posted)
"""
    assert python(blocks()[1] + use, tmp_path).split("\n")[:3] == ["202 5", "welcome, a@b.c", "5"]


def test_mypy_is_content_with_the_package_and_with_users(tmp_path: Path) -> None:
    user = tmp_path / "user.py"
    user.write_text("""
import asyncio
from decimal import Decimal
from levqor import Levqor
from levqor.models import LedgerAnswer

lq = Levqor("memory://")
answer: LedgerAnswer = lq.credits.grant("acme", Decimal("1.5"), expires="10d")

async def main() -> Decimal:
    balance = await lq.credits.abalance("acme")
    await lq.credits.aspend("acme", 1, idempotency_key="k")
    return balance.available

print(asyncio.run(main()), lq.limiter("runs", "1/minute").take("k").remaining)
reveal_type(lq.credits.abalance)
""")
    check = [sys.executable, "-m", "mypy", "--strict", "--cache-dir", str(tmp_path / "cache")]
    package = subprocess.run([*check, "-p", "levqor"], capture_output=True, text=True, cwd=tmp_path, timeout=300)
    assert package.returncode == 0, package.stdout + package.stderr
    done = subprocess.run([*check, str(user)], capture_output=True, text=True, cwd=tmp_path, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    assert '(account: str) -> typing.Awaitable[levqor.models.Balance]' in done.stdout.replace('builtins.', '')
    wrong = tmp_path / "wrong.py"
    wrong.write_text('from levqor import Levqor\nLevqor("memory://").credits.grant("acme", 1.5)\n')
    refused = subprocess.run([*check, str(wrong)], capture_output=True, text=True, cwd=tmp_path, timeout=300)
    assert refused.returncode == 1 and "float" in refused.stdout


def test_the_stubs_are_what_is_there(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-m", "mypy.stubtest", "levqor._native"], capture_output=True, text=True, cwd=tmp_path, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
