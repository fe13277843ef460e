"""Records what the official Python client of MCP says to `levqor mcp`: levqor-connectors/tests/mcp/session.jsonl.

    python3 -m venv v && v/bin/pip install mcp
    v/bin/python levqor-connectors/tests/mcp/record.py target/debug/levqor

Build it with `cargo build --bin levqor --features cli,connectors,mcp`. The client validates every answer: what it
does not take ends this with an error.
"""
import asyncio
import json
import os
import sys
import tempfile
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

from mcp import ClientSession, StdioServerParameters
from mcp.client.stdio import stdio_client

HERE = Path(__file__).parent
TEE = "import subprocess,sys\np=subprocess.Popen(sys.argv[2:],stdin=subprocess.PIPE)\nf=open(sys.argv[1],'wb')\n" \
      "for l in sys.stdin.buffer:\n f.write(l);f.flush();p.stdin.write(l);p.stdin.flush()\np.stdin.close();p.wait()\n"


class Notion(BaseHTTPRequestHandler):
    def answer(self, status, body):
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.end_headers()
        self.wfile.write(json.dumps(body).encode())

    def do_GET(self):
        self.answer(404, {"code": "object_not_found", "message": "no such page"})

    def do_POST(self):
        self.rfile.read(int(self.headers.get("content-length", 0)))
        self.answer(200, {"results": [{"id": "p1", "object": "page"}], "next_cursor": None})

    def log_message(self, *_):
        pass


def plain(answer):
    return answer.model_dump(by_alias=True, mode="json")


async def main(levqor):
    server = HTTPServer(("127.0.0.1", 0), Notion)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    base = f"http://127.0.0.1:{server.server_port}"
    with tempfile.TemporaryDirectory() as folder:
        connections = Path(folder, "connections.json")
        connections.write_text(json.dumps({"wiki": {"token": "ntn_1", "base_url": base}}))
        command = [levqor, "--url", "memory://", "mcp", "--allow", "notion.*", "--use", "notion=wiki",
                   "--connections", str(connections)]
        session_file = HERE / "session.jsonl"
        run = StdioServerParameters(command=sys.executable, args=["-c", TEE, str(session_file), *command], env=dict(os.environ))
        async with stdio_client(run) as (read, write), ClientSession(read, write) as session:
            about = plain(await session.initialize())
            print("server:", about["serverInfo"], "protocol:", about["protocolVersion"])
            await session.send_ping()
            tools = plain(await session.list_tools())["tools"]
            assert len(tools) == 7, len(tools)
            assert all(t["inputSchema"] and t["outputSchema"] and t["annotations"] for t in tools)
            good = plain(await session.call_tool("notion__search", {"query": "x"}))
            assert not good["isError"] and good["structuredContent"]["results"][0]["id"] == "p1", good
            bad = plain(await session.call_tool("notion__get_page", {"page_id": "p9"}))
            assert bad["isError"] and "connector.not_found" in bad["content"][0]["text"], bad
            wrong = plain(await session.call_tool("notion__search", {"nope": 1}))
            assert wrong["isError"] and "connector.input_invalid" in wrong["content"][0]["text"], wrong
            print("tools:", len(tools), "calls: 3, as expected")


asyncio.run(main(os.path.abspath(sys.argv[1])))
