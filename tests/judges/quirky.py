"""MCP servers that break the specification, each in one way, as servers of the world do.

quirky.py stdio QUIRK: on standard input and output. quirky.py http QUIRK: on a port of loopback, which it prints.
quirky.py list: the names of all, one on each line, with the transport.
"""

import json
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

TOOLS = [{"name": name, "inputSchema": {"type": "object"}} for name in ("t", "u")]


def answer(message, **more):
    """What a good server answers; None for what needs no answer."""
    method, params = message.get("method"), message.get("params") or {}
    if message.get("id") is None or method is None:
        return None
    results = {
        "initialize": lambda: {
            "protocolVersion": params.get("protocolVersion", "2025-11-25"),
            "capabilities": {"tools": {}},
            "serverInfo": {"name": "quirky", "version": "1"},
        },
        "ping": dict,
        "tools/list": lambda: {"tools": TOOLS},
        "tools/call": lambda: {"content": [{"type": "text", "text": "fine " + str(params.get("name"))}]},
    }
    body = {"result": results[method]()} if method in results else {"error": {"code": -32601, "message": "unknown"}}
    return {"jsonrpc": "2.0", "id": message["id"], **body, **more}


def text(value):
    return json.dumps(value).encode()


def line(value):
    return text(value) + b"\n"


def on(wanted, change):
    """A quirk of the answers to one method."""
    def quirk(message, good):
        return change(message, good) if message.get("method") == wanted else good and line(good)
    return quirk


def always(change):
    return lambda message, good: good and change(message, good)


def result(**members):
    def change(_, good):
        good["result"].update(members)
        for name in [name for name, value in members.items() if value is ...]:
            del good["result"][name]
        return line(good)
    return change


def identified(spell):
    return always(lambda message, good: line({**good, "id": spell(good["id"])}))


def raw_id(spell):
    def change(message, good):
        whole = text({**good, "id": "@@"})
        return whole.replace(b'"@@"', spell(good["id"]).encode()) + b"\n"
    return always(change)


def without_id(_, good):
    del good["id"]
    return line(good)


def pages(cursor_behind):
    """Lists whose pages name another page each."""
    def change(message, good):
        cursor = (message.get("params") or {}).get("cursor")
        good["result"]["nextCursor"] = cursor_behind(cursor)
        return line(good)
    return on("tools/list", change)


def lossy(_, good):
    return text(good).replace(b"fine", b"fi\xff\xfene\xe2\x82") + b"\n"


LOST = b'{"jsonrpc":"2.0","id":%d,"result":{"content":[],"x":undefined}}\n'
STDIO = {
    "id-text": identified(str),
    "id-float": raw_id(lambda id: "%s.0" % id if isinstance(id, int) else json.dumps(id)),
    "id-exponent": raw_id(lambda id: "%se0" % id if isinstance(id, int) else json.dumps(id)),
    "id-null": on("tools/call", lambda _, good: line({**good, "id": None})),
    "id-strange": on("tools/call", lambda _, good: line({**good, "id": "another"})),
    "id-missing": on("tools/call", without_id),
    "error-null": on("tools/call", lambda *_: line({"jsonrpc": "2.0", "id": None, "error": {"code": -32000, "message": "boom"}})),
    "initialize-refused-null": on("initialize", lambda *_: line({"jsonrpc": "2.0", "id": None, "error": {"code": -32000, "message": "boom"}})),
    "utf8": on("tools/call", lossy),
    "utf8-list": on("tools/list", lambda _, good: text({**good, "result": {"tools": [{**TOOLS[0], "description": "fine"}]}}).replace(b"fine", b"fi\xff") + b"\n"),
    "mark-first": on("initialize", lambda _, good: b"\xef\xbb\xbf" + line(good)),
    "mark-each": always(lambda _, good: b"\xef\xbb\xbf" + line(good)),
    "osc-before": always(lambda _, good: b"\x1b]0;a title\x07" + line(good)),
    "progress-before": always(lambda _, good: b"10%\r90%\r" + line(good)),
    "text-behind": always(lambda _, good: text(good) + b" done\n"),
    "banner": on("initialize", lambda _, good: b"Listening on port 1337\n\n" + line(good)),
    "json-log": always(lambda _, good: b'{"level":"info","msg":"called"}\n' + line(good)),
    "echoes-requests": lambda message, good: b"received " + line(message) + (line(good) if good else b""),
    "batch": on("tools/call", lambda _, good: line([{"jsonrpc": "2.0", "method": "notifications/message", "params": {"level": "info", "data": "x"}}, good])),
    "two-on-a-line": on("tools/call", lambda _, good: text({"jsonrpc": "2.0", "method": "notifications/message", "params": {"level": "info", "data": "x"}}) + line(good)),
    "infinite": on("tools/call", lambda _, good: text({**good, "result": {**good["result"], "structuredContent": {"x": float("nan")}}}) + b"\n"),
    "not-json": on("tools/call", lambda message, _: LOST % message["id"]),
    "banner-only": on("initialize", lambda *_: b"Listening on port 1337\nReady.\n"),
    "content-length": always(lambda _, good: b"Content-Length: %d\r\n\r\n" % len(text(good)) + text(good)),
    "undeclared-tools": on("initialize", result(capabilities={})),
    "capabilities-list": on("initialize", result(capabilities={"tools": [{"name": "t"}]})),
    "capabilities-null": on("initialize", result(capabilities=None)),
    "no-server-info": on("initialize", result(serverInfo=...)),
    "instructions-number": on("initialize", result(instructions=7)),
    "no-version": on("initialize", result(protocolVersion=...)),
    "cursor-empty": pages(lambda _: ""),
    "cursor-null": pages(lambda _: None),
    "cursor-number": pages(lambda _: 7),
    "cursor-same": pages(lambda _: "again"),
    "cursor-circle": pages(lambda cursor: "b" if cursor == "a" else "a"),
    "cursor-endless": pages(lambda cursor: str(int(cursor or 0) + 1)),
    "odd-names": on("tools/list", lambda _, good: line({**good, "result": {"tools": [{**TOOLS[0], "name": name} for name in ("a.b", "a_b", "ns/x", "t")]}})),
    "large": on("tools/call", lambda _, good: text(good).replace(b"fine", b"x" * (40 << 20)) + b"\n"),
    "answers-anything": lambda message, good: line(good if good and "result" in good else {"jsonrpc": "2.0", "id": message["id"], "result": {}}) if message.get("id") is not None else None,
}


def serve_stdio(name):
    quirk, out = STDIO[name], sys.stdout.buffer
    for read in sys.stdin.buffer:
        message = json.loads(read)
        written = quirk(message, answer(message))
        if written:
            out.write(written)
            out.flush()


class Http(BaseHTTPRequestHandler):
    """A good server, whose parts the quirks replace."""
    protocol_version = "HTTP/1.1"
    sessions, streams, refused, opened = set(), [], 0, 0

    def log_message(self, *_):
        pass

    def say(self, status, body=b"", kind="application/json", **headers):
        self.send_response(status)
        for name, value in {"Content-Type": kind, "Content-Length": str(len(body)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self):
        length = int(self.headers.get("Content-Length", 0))
        message = json.loads(self.rfile.read(length))
        good = answer(message)
        if message.get("method") == "server/discover":
            return self.say(400)
        if message.get("method") == "initialize":
            self.sessions.add("s%d" % len(self.sessions))
        if QUIRK.get("post") and QUIRK["post"](self, message, good):
            return
        self.good(message, good)

    def good(self, message, good, **headers):
        if good is None:
            return self.say(202)
        if message["method"] == "initialize":
            headers["Mcp_Session_Id"] = "s%d" % (len(self.sessions) - 1)
        self.say(200, text(good), **headers)

    def do_GET(self):
        if QUIRK.get("get"):
            return QUIRK["get"](self)
        self.say(405)

    def do_DELETE(self):
        self.say(200)

    def stream(self):
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.flush()
        self.streams.append(self)
        self.close_connection = True
        while self in self.streams:
            time.sleep(0.05)

    def event(self, body):
        self.wfile.write(b"event: message\ndata: " + body + b"\n\n")
        self.wfile.flush()


def when(method, change):
    """A quirk of the answers to one method; it tells whether it answered."""
    return lambda http, message, good: message.get("method") == method and change(http, message, good) is not False


def events(kind="text/event-stream", change=lambda body: body, end=b"\n\n"):
    def post(http, message, good):
        if good is None:
            return False
        headers = {"Mcp_Session_Id": "s0"} if message["method"] == "initialize" else {}
        http.say(200, b"data: " + change(text(good)) + end, kind, **headers)
        return True
    return post


def media(kind):
    return lambda http, message, good: good is not None and (http.good(message, good, Content_Type=kind), True)[1]


def body(change, **headers):
    return lambda http, message, good: good is not None and (
        http.say(200, change(text(good)), **({"Mcp_Session_Id": "s0"} if message["method"] == "initialize" else {}), **headers), True)[1]


def loses(status, words):
    """Knows no session from the second call on, until another one is begun."""
    def post(http, message, good):
        if message.get("method") != "tools/call":
            return False
        Http.refused += 1
        if Http.refused == 1 and http.headers.get("Mcp-Session-Id") == "s0":
            return False
        if http.headers.get("Mcp-Session-Id") == "s0":
            http.say(status, words, "application/json" if words.startswith(b"{") else "text/plain")
            return True
        return False
    return post


def limited(status, **headers):
    def post(http, message, good):
        Http.refused += 1
        if Http.refused == 1:
            http.say(status, text({"jsonrpc": "2.0", "id": message.get("id"), "error": {"code": -32000, "message": "Too many requests"}}), **headers)
            return True
        return False
    return post


def elsewhere(http, message, good):
    if message.get("method") != "tools/call":
        return False
    http.say(202)
    def later():
        time.sleep(0.2)
        for stream in http.streams:
            stream.event(text(good))
    threading.Thread(target=later, daemon=True).start()
    return True


def refuses_at_first(status):
    def get(http):
        Http.opened += 1
        if Http.opened == 1:
            return http.say(status)
        http.stream()
    return get


def short(http, message, good):
    """A length that is larger than the body, which then ends."""
    if good is None:
        return False
    http.send_response(200)
    for name, value in {"Content-Type": "application/json", "Content-Length": "100000", "Mcp-Session-Id": "s0", "Connection": "close"}.items():
        http.send_header(name, value)
    http.end_headers()
    http.wfile.write(text(good))
    http.close_connection = True
    return True


def chunked(encoding, trailers=b""):
    def post(http, message, good):
        if good is None:
            return False
        http.send_response(200)
        for name, value in {"Content-Type": "application/json", "Transfer-Encoding": encoding, "Mcp-Session-Id": "s0"}.items():
            http.send_header(name, value)
        http.end_headers()
        whole = text(good)
        http.wfile.write(b"%x\r\n%s\r\n0\r\n%s\r\n" % (len(whole), whole, trailers))
        http.wfile.flush()
        return True
    return post


HTTP = {
    "http-good": {},
    "json-other-case": {"post": body(bytes, Content_Type="Application/JSON; Charset=UTF-8")},
    "json-parameters": {"post": body(bytes, Content_Type='application/json;odd=";";charset="utf-8"')},
    "events-other-case": {"post": events("Text/Event-Stream;Charset=utf-8")},
    "no-type": {"post": body(bytes, Content_Type="text/plain")},
    "http-utf8": {"post": body(lambda whole: whole.replace(b"fine", b"fi\xff"))},
    "events-utf8": {"post": events(change=lambda whole: whole.replace(b"fine", b"fi\xff"))},
    "http-mark": {"post": body(lambda whole: b"\xef\xbb\xbf" + whole)},
    "events-unended": {"post": events(end=b"\n")},
    "http-id-null": {"post": when("tools/call", lambda http, _, good: http.say(200, text({**good, "id": None})))},
    "http-id-text": {"post": body(lambda whole: text({**json.loads(whole), "id": str(json.loads(whole)["id"])}))},
    "events-id-strange": {"post": when("tools/call", lambda http, _, good: http.say(200, b"data: " + text({**good, "id": "x"}) + b"\n\n", "text/event-stream"))},
    "http-batch": {"post": when("tools/call", lambda http, _, good: http.say(200, text([good])))},
    "accepted-with-body": {"post": when("tools/call", lambda http, _, good: http.say(202, text(good)))},
    "answer-elsewhere": {"post": elsewhere, "get": Http.stream},
    "answer-nowhere": {"post": when("tools/call", lambda http, *_: http.say(202))},
    "lost-404": {"post": loses(404, b"")},
    "lost-400-text": {"post": loses(400, b"Bad Request: No valid session ID provided")},
    "lost-400-error": {"post": loses(400, text({"jsonrpc": "2.0", "id": "server-error", "error": {"code": -32600, "message": "Session not found"}}))},
    "lost-410": {"post": loses(410, text({"error": "Session expired"}))},
    "lost-409-null": {"post": loses(409, text({"jsonrpc": "2.0", "id": None, "error": {"code": -32001, "message": "unknown session"}}))},
    "limit-429": {"post": limited(429, Retry_After="1")},
    "limit-429-unsaid": {"post": limited(429)},
    "limit-503": {"post": limited(503, Retry_After="1")},
    "stream-409": {"get": refuses_at_first(409)},
    "stream-400": {"get": refuses_at_first(400)},
    "stream-429": {"get": refuses_at_first(429)},
    "stream-503": {"get": refuses_at_first(503)},
    "length-too-long": {"post": short},
    "chunked-odd-case": {"post": chunked("Chunked")},
    "trailers": {"post": chunked("chunked", b"X-Trailer: 1\r\n")},
}
QUIRK = {}


def serve_http(name):
    QUIRK.update(HTTP[name])
    server = ThreadingHTTPServer(("127.0.0.1", 0), Http)
    server.daemon_threads = True
    print(server.server_port, flush=True)
    server.serve_forever()


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["stdio", name]:
            serve_stdio(name)
        case ["http", name]:
            serve_http(name)
        case _:
            print("\n".join(["stdio " + name for name in STDIO] + ["http " + name for name in HTTP]))
