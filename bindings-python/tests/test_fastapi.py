"""FastAPI: dependencies, middleware, lifespan."""

from __future__ import annotations

from typing import Annotated, Any

import pytest

pytest.importorskip("fastapi")
from fastapi import Depends, FastAPI
from fastapi.testclient import TestClient

from levqor import Levqor, _native
from levqor.fastapi import install, lifespan, limit, require_key


def test_keys_limits_headers_and_errors() -> None:
    lq = Levqor("memory://")
    app = FastAPI(lifespan=lifespan(lq))
    install(app, lq)
    keyed = require_key(lq, "runs:write")
    limited = limit(lq, "2/minute", name="runs", by="key")

    async def run(key: Any = Depends(keyed), decision: Any = Depends(limited)) -> Any:
        return {"account": key.account, "left": decision.remaining}

    app.add_api_route("/run", run, methods=["POST"])
    text = lq.keys.create("k", account="acme", scopes=["runs:*"]).text
    weak = lq.keys.create("w", account="acme").text
    with TestClient(app) as client:
        assert client.get("/health").json()["status"] == "ok"
        refused = client.post("/run")
        assert refused.status_code == 401 and refused.headers["content-type"] == "application/problem+json"
        assert client.post("/run", headers={"X-Api-Key": weak}).status_code == 403
        answers = [client.post("/run", headers={"Authorization": f"Bearer {text}"}) for _ in range(3)]
        assert [a.status_code for a in answers] == [200, 200, 429]
        assert answers[0].json() == {"account": "acme", "left": 1} and answers[0].headers["x-ratelimit-limit"] == "2"
        assert answers[2].json()["code"] == "limits.exceeded" and answers[2].headers["retry-after"]
        assert answers[0].headers["x-content-type-options"] == "nosniff"
    assert not lq.is_open
    assert isinstance(_native.version(), str) and Annotated
