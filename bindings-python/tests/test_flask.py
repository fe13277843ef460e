"""The Flask extension: limits, keys, webhooks, credits, errors, headers, ops page."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

pytest.importorskip("flask")
from flask import Flask, g, request

from levqor.errors import GiveUp
from levqor.flask import Levqor, backoff

SECRET = "whsec_test_secret"


def make(url: str = "memory://", **config: Any) -> tuple[Flask, Levqor, Any]:
    lq = Levqor()

    @lq.workflow("onboard", queue="runs", max_attempts=5, backoff=backoff.exponential("2s", cap="10m"))
    def onboard(wf: Any, email: str, hold: str) -> dict[str, Any]:
        from flask import current_app

        wf.credits.settle(hold)
        return {"user": wf.step("create", lambda: email), "app": current_app.name}

    app = Flask("shop")
    app.config.from_mapping(LEVQOR_URL=url, LEVQOR_WEBHOOKS={"stripe": SECRET}, LEVQOR_TRUSTED_PROXIES=["10.0.0.0/8"], LEVQOR_OPS="/ops", **config)
    lq.init_app(app)

    @app.post("/api/v1/run")
    @lq.require_key(scopes=["runs:write"])
    @lq.limit("60/minute burst 10", by="key", name="runs", on_storage_error="local")
    def run() -> Any:
        with lq.atomic(idempotency_key=request.headers["Idempotency-Key"]) as tx:
            hold = tx.credits.hold(g.levqor.account, 5)
            job = tx.enqueue(onboard, email=request.get_json()["email"], hold=hold, unique_for="10m")
        return {"run": job.id, "credits": hold.remaining}, 202

    @app.post("/webhooks/stripe")
    @lq.webhook("stripe")
    def stripe(event: Any) -> Any:
        seen.append(event.type)
        if event.type == "boom":
            raise RuntimeError("not now")
        lq.credits.grant("acme", 500, idempotency_key=event.id)
        return "", 204

    @app.get("/ip")
    @lq.limit("2/minute", name="ip")
    def ip() -> str:
        return "ok"

    @app.get("/login/<ok>")
    @lq.limit("2/minute", by="all", name="login", deduct_when=lambda response: response.status_code == 401)
    def login(ok: str) -> Any:
        return ok, 200 if ok == "yes" else 401

    @app.post("/paid/<status>")
    @lq.require_key
    @lq.spend("1.5")
    @lq.validate({"type": "object", "required": ["n"], "properties": {"n": {"type": "integer", "maximum": 9}}, "additionalProperties": False})
    def paid(status: str) -> Any:
        return {"n": request.get_json()["n"]}, int(status)

    seen: list[str] = []
    app.extensions["seen"] = seen
    return app, lq, onboard


def key(lq: Levqor, app: Flask, *scopes: str) -> dict[str, str]:
    with app.app_context():
        return {"Authorization": f"Bearer {lq.keys.create('test', account='acme', scopes=list(scopes)).text}"}


def test_the_metered_endpoint_of_the_guide() -> None:
    app, lq, _ = make()
    assert not app.extensions["levqor"].engine.is_open, "init_app opens nothing"
    client = app.test_client()
    refused = client.post("/api/v1/run", json={"email": "a@b.c"})
    assert refused.status_code == 401 and refused.mimetype == "application/problem+json" and refused.json["code"] == "key.missing"
    assert client.post("/api/v1/run", headers=key(lq, app, "other")).status_code == 403
    auth = key(lq, app, "runs:*")
    broke = client.post("/api/v1/run", json={"email": "a@b.c"}, headers={**auth, "Idempotency-Key": "k0"})
    assert broke.status_code == 402 and broke.json["code"] == "ledger.insufficient_credits"
    with app.app_context():
        lq.credits.grant("acme", 100)
    first = client.post("/api/v1/run", json={"email": "a@b.c"}, headers={**auth, "Idempotency-Key": "k1"})
    again = client.post("/api/v1/run", json={"email": "a@b.c"}, headers={**auth, "Idempotency-Key": "k1"})
    assert first.status_code == 202 and first.json == again.json and first.json["credits"] == "95"
    assert first.headers["X-RateLimit-Limit"] == "60" and '"runs";q=60' in first.headers["RateLimit-Policy"]
    assert first.headers["X-Content-Type-Options"] == "nosniff" and "default-src 'none'" in first.headers["Content-Security-Policy"]
    with app.app_context():
        lq.worker(queues=["runs"]).drain()
        assert lq.jobs.get(first.json["run"]).result == {"user": "a@b.c", "app": "shop"}
        assert lq.credits.balance("acme").posted == 95
    statuses = [client.post("/api/v1/run", json={"email": "x"}, headers={**auth, "Idempotency-Key": f"n{n}"}).status_code for n in range(12)]
    assert statuses.count(429) >= 4
    limited = client.post("/api/v1/run", json={"email": "x"}, headers={**auth, "Idempotency-Key": "z"})
    assert limited.status_code == 429 and int(limited.headers["Retry-After"]) >= 1 and limited.json["violated-policies"] == ["runs"]


def test_addresses_are_counted_past_trusted_proxies_only() -> None:
    app, _, _ = make()
    client = app.test_client()

    def get(peer: str, forwarded: str) -> int:
        return client.get("/ip", environ_base={"REMOTE_ADDR": peer}, headers={"X-Forwarded-For": forwarded}).status_code

    assert [get("203.0.113.1", f"1.1.1.{n}") for n in range(3)] == [200, 200, 429], "nobody can choose another address"
    assert [get("10.0.0.1", f"9.9.9.{n}") for n in range(3)] == [200] * 3
    assert [get("10.0.0.1", f"2001:db8:0:1::{n}") for n in range(3)] == [200, 200, 429], "a /64 is one customer"


def test_only_failures_count_if_so_wished() -> None:
    client = make()[0].test_client()
    assert [client.get("/login/yes").status_code for _ in range(5)] == [200] * 5
    assert [client.get("/login/no").status_code for _ in range(3)] == [401, 401, 429]


def test_webhooks_are_proved_and_worked_on_once() -> None:
    app, lq, _ = make()
    client = app.test_client()

    def send(id: str, kind: str, tamper: bool = False) -> Any:
        body = json.dumps({"id": id, "type": kind, "created": 1, "data": {"object": {"client_reference_id": "acme"}}}).encode()
        with app.app_context():
            headers = lq.webhooks.sign("stripe", id, body)
        return client.post("/webhooks/stripe", data=body + b" " if tamper else body, headers=headers)

    assert send("evt_1", "checkout", tamper=True).status_code == 400
    assert [send("evt_1", "checkout").status_code for _ in range(3)] == [204] * 3
    assert send("evt_2", "boom").status_code == 500
    assert send("evt_2", "boom").status_code == 500
    assert app.extensions["seen"] == ["checkout", "boom", "boom"]
    with app.app_context():
        assert lq.credits.balance("acme").posted == 500


def test_a_view_costs_credits_when_it_answers_well() -> None:
    app, lq, _ = make()
    client, auth = app.test_client(), key(lq, app)
    with app.app_context():
        lq.credits.grant("acme", 2)
    assert client.post("/paid/500", json={"n": 1}, headers=auth).status_code == 500
    bad = client.post("/paid/200", json={"n": 10, "x": 1}, headers=auth)
    assert bad.status_code == 422 and {e["at"] for e in bad.json["errors"]} == {"/n", ""}
    assert client.post("/paid/200", json={"n": 1}, headers=auth).status_code == 200
    assert client.post("/paid/200", json={"n": 1}, headers=auth).status_code == 402
    with app.app_context():
        assert str(lq.credits.balance("acme").available) == "0.5"


def test_errors_of_the_framework_are_problems_too() -> None:
    app, _, _ = make(LEVQOR_MAX_BODY=10)
    client = app.test_client()
    for response, code in ((client.get("/nowhere"), 404), (client.put("/ip"), 405), (client.post("/webhooks/stripe", data=b"x" * 99), 413)):
        assert response.status_code == code and response.mimetype == "application/problem+json" and response.json["status"] == code
    assert client.get("/nowhere", headers={"Accept": "text/html"}).mimetype == "text/html"


def test_health_and_metrics() -> None:
    app, _, _ = make()
    client = app.test_client()
    client.get("/ip")
    assert client.get("/health").json["status"] == "ok"
    text = client.get("/metrics").get_data(as_text=True)
    assert 'levqor_http_responses_total{status="200"}' in text and "levqor_http_request_seconds_count" in text
    broken, _, _ = make(url="postgres://nobody:x@127.0.0.1:1/none")
    assert broken.test_client().get("/health").status_code == 503


def test_a_store_that_is_down_does_not_take_the_views_down() -> None:
    app, _, _ = make(url="postgres://nobody:x@127.0.0.1:1/none")
    client = app.test_client()
    answers = [client.get("/ip") for _ in range(3)]
    assert [a.status_code for a in answers] == [200, 200, 429] and answers[0].headers["X-RateLimit-Degraded"] == "1"


def test_several_apps_share_one_extension() -> None:
    lq = Levqor()
    apps = [Flask(f"a{n}") for n in range(2)]
    for n, app in enumerate(apps):
        app.config["LEVQOR_URL"] = "memory://"
        lq.init_app(app)
        with app.app_context():
            lq.credits.grant("acme", n + 1)
    with pytest.raises(RuntimeError):
        lq.engine  # noqa: B018
    for n, app in enumerate(apps):
        with app.app_context():
            assert lq.credits.balance("acme").posted == n + 1


def test_the_ops_page_redrives_dead_letters() -> None:
    app, lq, _ = make()
    client = app.test_client()

    @lq.job
    def fails() -> None:
        raise GiveUp("<script>alert(1)</script>", code="crm.gone")

    with app.app_context():
        job = fails.enqueue()
        lq.worker().drain()
        lq.credits.grant("acme", 7)
        text = lq.keys.create("ops", scopes=["ops"]).text
    assert client.get("/ops/").status_code == 401 and "Basic" in client.get("/ops/").headers["WWW-Authenticate"]
    basic = {"Authorization": "Basic " + base64.b64encode(f"ops:{text}".encode()).decode()}
    page = client.get("/ops/?account=acme&who=user=ann", headers=basic)
    html = page.get_data(as_text=True)
    assert page.status_code == 200 and "crm.gone" in html and "<script>" not in html and "has <b>7</b> available" in html
    assert f"nonce-{html.split('nonce=')[1].split(chr(34))[1]}" in page.headers["Content-Security-Policy"]
    assert client.post(f"/ops/redrive/{job.id}", headers={**basic, "Sec-Fetch-Site": "cross-site"}).status_code == 403
    assert client.post(f"/ops/redrive/{job.id}", headers=basic).status_code == 302
    with app.app_context():
        assert lq.jobs.get(job.id).state == "ready"
        lq.worker().drain()
    assert "1 jobs wait" in client.post("/ops/redrive", headers=basic, follow_redirects=True).get_data(as_text=True)
    assert client.post("/ops/queues/default/pause", headers=basic).status_code == 302
    with app.app_context():
        assert lq.jobs.queues()[0].paused


def test_commands() -> None:
    app, lq, _ = make()
    run = app.test_cli_runner().invoke
    made = json.loads(run(args=["levqor", "key", "ci", "--account", "acme", "--scope", "ops"]).output)
    assert made["text"].startswith("lvq_")
    assert json.loads(run(args=["levqor", "doctor"]).output)["handlers"] == ["onboard"]
    assert json.loads(run(args=["levqor", "grant", "acme", "5"]).output)["posted"] == "5"
    assert json.loads(run(args=["levqor", "jobs"]).output) == []
