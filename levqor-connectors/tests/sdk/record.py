"""Records what the vendors' official SDKs send: levqor-connectors/tests/sdk/fixture.json.

    python3 -m venv v && v/bin/pip install slack_sdk stripe python-telegram-bot notion-client openai
    v/bin/python levqor-connectors/tests/sdk/record.py

Each case is one call of an SDK and the action and input that mean the same here; tests/sdk.rs sends ours and compares
method, path, query, body and the headers that matter. Nothing leaves this machine.
"""
import asyncio
import importlib.metadata as meta
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

import notion_client
import openai
import slack_sdk
import stripe
import telegram

SEEN = []
ANSWER = [None]
# Of the others the SDKs send what is theirs: their names, versions, connections.
HEADERS = {"authorization", "content-type", "notion-version", "idempotency-key", "stripe-version", "stripe-account",
           "openai-organization", "openai-project"}


class Recorder(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def take(self):
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        if self.headers.get("transfer-encoding") == "chunked":
            while size := int(self.rfile.readline().strip() or b"0", 16):
                body += self.rfile.read(size)
                self.rfile.readline()
        url = urlsplit(self.path)
        kind = (self.headers.get("content-type") or "").split(";")[0]
        seen = {"method": self.command, "path": url.path, "query": sorted(map(list, parse_qsl(url.query, True))),
                "headers": {n.lower(): v for n, v in self.headers.items() if n.lower() in HEADERS}}
        if kind == "application/json":
            seen["json"] = json.loads(body)
        elif kind == "application/x-www-form-urlencoded":
            seen["form"] = sorted(map(list, parse_qsl(body.decode(), True)))
        elif body:
            seen["text"] = body.decode("utf-8", "replace")
        SEEN.append(seen)
        out = json.dumps(ANSWER[0]).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(out)))
        self.end_headers()
        self.wfile.write(out)

    do_GET = do_POST = do_PATCH = do_DELETE = do_PUT = take

    def log_message(self, *_):
        pass


server = ThreadingHTTPServer(("127.0.0.1", 0), Recorder)
threading.Thread(target=server.serve_forever, daemon=True).start()
BASE = f"http://127.0.0.1:{server.server_port}"
CASES = []


def case(action, data, call, answer, connection):
    """Calls the SDK and writes down the last request that it sent."""
    SEEN.clear()
    ANSWER[0] = answer
    try:
        done = call()
        if asyncio.iscoroutine(done):
            done = LOOP.run_until_complete(done)
    except Exception as e:  # The answer is no real one; the request is what counts.
        print(f"  {action}: the SDK did not like the answer: {type(e).__name__}: {str(e)[:80]}")
    CASES.append({"action": action, "input": data, "connection": connection, "request": SEEN[-1]})


LOOP = asyncio.new_event_loop()

# Slack
slack = slack_sdk.WebClient(token="xoxb-1", base_url=f"{BASE}/")
OK = {"ok": True}
for action, data, call in [
    ("slack.post_message", {"channel": "C1", "text": "Hi", "thread_ts": "1.2"},
     lambda: slack.chat_postMessage(channel="C1", text="Hi", thread_ts="1.2")),
    ("slack.update_message", {"channel": "C1", "ts": "1.2", "text": "Hello"},
     lambda: slack.chat_update(channel="C1", ts="1.2", text="Hello")),
    ("slack.list_channels", {"limit": 5, "exclude_archived": True},
     lambda: slack.conversations_list(limit=5, exclude_archived=True)),
    ("slack.list_messages", {"channel": "C1", "limit": 5, "oldest": "1.0"},
     lambda: slack.conversations_history(channel="C1", limit=5, oldest="1.0")),
    ("slack.open_conversation", {"users": "U1,U2"}, lambda: slack.conversations_open(users="U1,U2")),
    ("slack.find_user", {"email": "jane@example.com"}, lambda: slack.users_lookupByEmail(email="jane@example.com")),
    ("slack.add_reaction", {"channel": "C1", "timestamp": "1.2", "name": "eyes"},
     lambda: slack.reactions_add(channel="C1", timestamp="1.2", name="eyes")),
]:
    case(action, data, call, OK, {"token": "xoxb-1"})

# Stripe
pay = stripe.StripeClient("sk_test_1", base_addresses={"api": BASE}, max_network_retries=0)
v1 = getattr(pay, "v1", pay)
KEY = {"idempotency_key": "step-key-1"}
THING = {"id": "x_1", "object": "customer"}
LIST = {"object": "list", "data": [], "has_more": False, "url": "/x"}
STRIPE = {"token": "sk_test_1"}
for action, data, call, answer in [
    ("stripe.create_customer", {"email": "jane@example.com", "metadata": {"plan": "pro"}, "address": {"city": "Bonn"}},
     lambda: v1.customers.create({"email": "jane@example.com", "metadata": {"plan": "pro"}, "address": {"city": "Bonn"}}, KEY), THING),
    ("stripe.list_customers", {"limit": 3, "email": "jane@example.com"},
     lambda: v1.customers.list({"limit": 3, "email": "jane@example.com"}), LIST),
    ("stripe.search_customers", {"query": "email:'jane@example.com'"},
     lambda: v1.customers.search({"query": "email:'jane@example.com'"}), {**LIST, "object": "search_result"}),
    ("stripe.create_payment_intent", {"amount": 1099, "currency": "eur", "payment_method_types": ["card", "sepa_debit"]},
     lambda: v1.payment_intents.create({"amount": 1099, "currency": "eur", "payment_method_types": ["card", "sepa_debit"]}, KEY), THING),
    ("stripe.create_checkout_session", {"mode": "payment", "success_url": "https://x.example/ok",
                                        "line_items": [{"price": "price_1", "quantity": 2}]},
     lambda: v1.checkout.sessions.create({"mode": "payment", "success_url": "https://x.example/ok",
                                          "line_items": [{"price": "price_1", "quantity": 2}]}, KEY), THING),
    ("stripe.create_invoice", {"customer": "cus_1", "auto_advance": False},
     lambda: v1.invoices.create({"customer": "cus_1", "auto_advance": False}, KEY), THING),
    ("stripe.refund", {"payment_intent": "pi_1", "amount": 500, "reason": "requested_by_customer"},
     lambda: v1.refunds.create({"payment_intent": "pi_1", "amount": 500, "reason": "requested_by_customer"}, KEY), THING),
    ("stripe.cancel_subscription", {"id": "sub_1"}, lambda: v1.subscriptions.cancel("sub_1"), THING),
    ("stripe.list_events", {"limit": 2, "type": "invoice.paid"},
     lambda: v1.events.list({"limit": 2, "type": "invoice.paid"}), LIST),
    ("stripe.create_transfer", {"amount": 400, "currency": "eur", "destination": "acct_1"},
     lambda: v1.transfers.create({"amount": 400, "currency": "eur", "destination": "acct_1"}, KEY), THING),
]:
    case(action, data, call, answer, STRIPE)

# Telegram
bot = telegram.Bot("123:abc", base_url=f"{BASE}/bot")
MESSAGE = {"ok": True, "result": {"message_id": 1, "date": 1, "chat": {"id": 7, "type": "private"}, "text": "Hi"}}
LOOP.run_until_complete(bot._request[1].initialize())
TELEGRAM = {"token": "123:abc"}
for action, data, call, answer in [
    ("telegram.send_message", {"chat_id": 7, "text": "Hi", "parse_mode": "HTML"},
     lambda: bot.send_message(7, "Hi", parse_mode="HTML"), MESSAGE),
    ("telegram.edit_message", {"chat_id": 7, "message_id": 1, "text": "Hello"},
     lambda: bot.edit_message_text("Hello", chat_id=7, message_id=1), MESSAGE),
    ("telegram.answer_callback", {"callback_query_id": "q1", "text": "Done"},
     lambda: bot.answer_callback_query("q1", text="Done"), {"ok": True, "result": True}),
    ("telegram.set_webhook", {"url": "https://x.example/in", "secret_token": "s1"},
     lambda: bot.set_webhook("https://x.example/in", secret_token="s1"), {"ok": True, "result": True}),
    ("telegram.send_photo", {"chat_id": 7, "photo": "https://x.example/a.png", "caption": "A"},
     lambda: bot.send_photo(7, "https://x.example/a.png", caption="A"), MESSAGE),
    ("telegram.send_document", {"chat_id": 7, "document": "https://x.example/a.pdf"},
     lambda: bot.send_document(7, "https://x.example/a.pdf"), MESSAGE),
]:
    case(action, data, call, answer, TELEGRAM)

# Notion
wiki = notion_client.Client(auth="ntn_1", base_url=BASE, notion_version="2025-09-03")
NOTION = {"token": "ntn_1"}
PAGE = {"id": "p1", "object": "page"}
FOUND = {"object": "list", "results": [], "next_cursor": None, "has_more": False}
TITLE = {"title": [{"text": {"content": "Hi"}}]}
BLOCK = {"object": "block", "type": "divider", "divider": {}}
for action, data, call, answer in [
    ("notion.create_page", {"parent": {"page_id": "p0"}, "properties": TITLE},
     lambda: wiki.pages.create(parent={"page_id": "p0"}, properties=TITLE), PAGE),
    ("notion.update_page", {"page_id": "p1", "properties": TITLE}, lambda: wiki.pages.update("p1", properties=TITLE), PAGE),
    ("notion.get_page", {"page_id": "p1"}, lambda: wiki.pages.retrieve("p1"), PAGE),
    ("notion.query_data_source", {"data_source_id": "d1", "page_size": 5, "filter": {"property": "Done", "checkbox": {"equals": True}}},
     lambda: wiki.data_sources.query("d1", page_size=5, filter={"property": "Done", "checkbox": {"equals": True}}), FOUND),
    ("notion.append_blocks", {"block_id": "p1", "children": [BLOCK]},
     lambda: wiki.blocks.children.append("p1", children=[BLOCK]), FOUND),
    ("notion.list_blocks", {"block_id": "p1", "page_size": 5}, lambda: wiki.blocks.children.list("p1", page_size=5), FOUND),
    ("notion.search", {"query": "Plan", "page_size": 5}, lambda: wiki.search(query="Plan", page_size=5), FOUND),
]:
    case(action, data, call, answer, NOTION)

# OpenAI
model = openai.OpenAI(api_key="sk-1", base_url=f"{BASE}/v1", max_retries=0)
AI = {"token": "sk-1"}
TALK = [{"role": "user", "content": "Hi"}]
CHAT = {"id": "c1", "object": "chat.completion", "model": "m", "created": 1,
        "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "Hello"}}]}
for action, data, call, answer in [
    ("openai.chat", {"model": "m", "messages": TALK, "temperature": 0.5},
     lambda: model.chat.completions.create(model="m", messages=TALK, temperature=0.5), CHAT),
    ("openai.respond", {"model": "m", "input": "Hi", "max_output_tokens": 64},
     lambda: model.responses.create(model="m", input="Hi", max_output_tokens=64),
     {"id": "r1", "object": "response", "output": [], "model": "m"}),
    ("openai.embed", {"model": "m", "input": ["a", "b"], "encoding_format": "float"},
     lambda: model.embeddings.create(model="m", input=["a", "b"], encoding_format="float"), {"data": [], "object": "list"}),
    ("openai.moderate", {"input": "Hi"}, lambda: model.moderations.create(input="Hi"), {"id": "m", "model": "m", "results": []}),
    ("openai.list_models", {}, lambda: model.models.list(), {"object": "list", "data": []}),
]:
    case(action, data, call, answer, AI)

versions = {name: meta.version(name) for name in ["slack_sdk", "stripe", "python-telegram-bot", "notion-client", "openai"]}
Path(__file__).with_name("fixture.json").write_text(json.dumps({"sdks": versions, "cases": CASES}, indent=1) + "\n")
print(len(CASES), "calls of", versions)
