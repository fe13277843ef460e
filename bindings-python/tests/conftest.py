from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from levqor import Levqor

ROOT = Path(__file__).resolve().parents[2]

HELLO = {
    "version": 1, "name": "hello", "credits": {"hold": "5", "base": "1"},
    "steps": [{"id": "greet", "set": {"$fmt": "hello, {input.name}"}}],
    "output": {"$ref": "steps.greet.output"},
}


def vectors(name: str) -> Any:
    return json.loads((ROOT / "tests" / "vectors" / f"{name}.json").read_text())


@pytest.fixture
def lq() -> Any:
    with Levqor("memory://") as engine:
        yield engine


@pytest.fixture
def stored(tmp_path: Path) -> Any:
    with Levqor(f"sqlite://{tmp_path}/levqor.db") as engine:
        yield engine
