#!/usr/bin/env python3
"""Honest agents beside hostile agents and hostile servers: what the honest ones notice, and what the daemon holds.

    tests/bench/load.py TRUNKLINE TEST-SERVER [--seconds 300]

Two runs of a daemon in a home folder of its own: first the honest agents alone, then beside all others; servers are killed and the
configuration is rewritten in both. Prints calls, wrong answers, lost calls, the time of a call, and the most that was resident."""

import argparse
import asyncio
import json
import multiprocessing
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

AGENTS = 200
HOSTILE = 20
KILL_EVERY = 3.0
REWRITE_EVERY = 5.0
# Where the daemon's log goes.
LOG = None
# How long a call may take before it counts as lost.
PATIENCE = 60.0

SERVER = """
import json, sys, threading, time
kind = sys.argv[1]
def send(message):
    sys.stdout.write(json.dumps(message) + "\\n"); sys.stdout.flush()
def storm():
    while True:
        send({"jsonrpc": "2.0", "method": "notifications/message", "params": {"level": "error", "data": "x" * 1000}})
        time.sleep(0.002)
def junk():
    while True:
        sys.stdout.write("\\u001b[31m" + "y" * 65536 + "\\n"); sys.stdout.flush(); time.sleep(0.02)
def chatter():
    while True:
        sys.stderr.write("z" * 500 + "\\n"); sys.stderr.flush(); time.sleep(0.002)
begun = False
for line in sys.stdin:
    message = json.loads(line)
    if "id" not in message or "method" not in message:
        continue
    method, result = message["method"], {}
    if method == "initialize":
        result = {"protocolVersion": "2025-06-18", "capabilities": {"tools": {}, "logging": {}}, "serverInfo": {"name": kind, "version": "1"}}
    elif method == "tools/list":
        result = {"tools": [{"name": "t", "inputSchema": {"type": "object"}}]}
        if kind == "pages":
            result = {"tools": [{"name": "t%d" % n, "description": "d" * 4000, "inputSchema": {"type": "object"}} for n in range(1000)], "nextCursor": "more"}
    elif method == "tools/call":
        result = {"content": [{"type": "text", "text": "a" * (25 << 20 if kind == "huge" else 1)}]}
    send({"jsonrpc": "2.0", "id": message["id"], "result": result})
    if method == "initialize" and not begun:
        begun = True
        for other in {"storm": [storm], "junk": [junk, chatter]}.get(kind, []):
            threading.Thread(target=other, daemon=True).start()
    if method == "tools/list" and kind == "deaf":
        time.sleep(1e9)
"""


def configuration(test_server, script, odd):
    """The honest servers, the hostile ones, and one that comes and goes. `busy` is the one that hostile agents keep at work."""
    entries = {"one": [test_server], "two": [test_server, "--tool", "more"], "three": [test_server], "busy": [test_server]}
    entries |= {kind: [sys.executable, script, kind] for kind in ("storm", "pages", "deaf", "junk", "huge")}
    if odd:
        entries["odd"] = [test_server]
    return "".join(f"[servers.{name}]\ncommand = {json.dumps(words[0])}\nargs = {json.dumps(words[1:])}\n" for name, words in entries.items())


class Agent:
    """One attached session."""

    def __init__(self, reader, writer):
        self.reader, self.writer, self.next = reader, writer, 0

    @classmethod
    async def attach(cls, path, server, name):
        agent = cls(*await asyncio.open_unix_connection(path, limit=1 << 26))
        await agent.ask("daemon.attach", {"server": server, "client": name})
        await agent.ask("initialize", {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": name, "version": "1"}})
        agent.send({"jsonrpc": "2.0", "method": "notifications/initialized"})
        return agent

    def send(self, message):
        self.writer.write(json.dumps(message).encode() + b"\n")

    async def ask(self, method, params):
        self.next += 1
        self.send({"jsonrpc": "2.0", "id": self.next, "method": method, "params": params})
        while True:
            line = await asyncio.wait_for(self.reader.readline(), PATIENCE)
            if not line:
                raise ConnectionError("closed")
            answer = json.loads(line)
            if "method" not in answer and answer.get("id") != self.next:
                raise ValueError(f"an answer to {answer.get('id')}: {line[:200]}")
            if "method" not in answer:
                return answer


def note(found, words):
    found["words"][words[:70]] = found["words"].get(words[:70], 0) + 1


async def honest(path, number, until, found):
    """Attaches, calls, leaves, again and again."""
    while time.time() < until:
        try:
            server = random.choice(3 * ["one", "two", "three"] + ["busy"])
            agent = await Agent.attach(path, server, f"honest-{number}")
        except (OSError, asyncio.TimeoutError, ValueError) as error:
            found["refused"] += 1
            note(found, "refused: " + repr(error))
            await asyncio.sleep(0.5)
            continue
        try:
            for _ in range(random.randint(3, 20)):
                mark = f"{number}-{random.getrandbits(64)}"
                began = time.perf_counter()
                answer = await agent.ask("tools/call", {"name": "echo", "arguments": {"mark": mark}})
                # How long `busy` takes for what others ask of it says nothing of the daemon.
                found["times"] += [time.perf_counter() - began] if server != "busy" else []
                found["calls"] += 1
                if "error" in answer:
                    found["errors"] += 1
                    note(found, answer["error"].get("message", ""))
                elif mark not in json.dumps(answer):
                    found["wrong"] += 1
                await asyncio.sleep(random.random() * 1.2)
        except asyncio.TimeoutError:
            found["lost"] += 1
            note(found, f"lost: no answer of {server} within {PATIENCE:.0f} s")
        except ValueError:
            found["wrong"] += 1
        except OSError as error:
            found["lost"] += 1
            note(found, "lost: " + repr(error))
        agent.writer.close()


def honest_process(path, until, out):
    found = {"times": [], "calls": 0, "errors": 0, "wrong": 0, "lost": 0, "refused": 0, "words": {}}

    async def all_of_them():
        await asyncio.gather(*(honest(path, number, until, found) for number in range(AGENTS)))

    asyncio.run(all_of_them())
    out.put(found)


def attached(path, server, name):
    """A blocking connection that has shaken hands."""
    connection = socket.socket(socket.AF_UNIX)
    connection.settimeout(20)
    connection.connect(path)
    file = connection.makefile("rb")
    messages = [
        {"jsonrpc": "2.0", "id": 0, "method": "daemon.attach", "params": {"server": server, "client": name}},
        {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": name, "version": "1"}}},
    ]
    for message in messages:
        connection.sendall(json.dumps(message).encode() + b"\n")
        file.readline()
    connection.sendall(b'{"jsonrpc":"2.0","method":"notifications/initialized"}\n')
    return connection


def call(number, tool, arguments):
    params = {"name": tool, "arguments": arguments}
    return json.dumps({"jsonrpc": "2.0", "id": number, "method": "tools/call", "params": params}).encode() + b"\n"


def deaf(path):
    """Asks for much, and reads nothing."""
    connection = attached(path, random.choice(["busy", "huge"]), "deaf")
    for number in range(2, 30):
        connection.sendall(call(number, "big", {"bytes": 15 << 20}))
    time.sleep(10)


def huge(path):
    """Sends long messages to whoever reads nothing, and to whoever sends them back."""
    connection = attached(path, random.choice(["deaf", "busy"]), "huge")
    for number in range(2, 12):
        connection.sendall(call(number, "echo", {"text": "h" * (20 << 20)}))


def half(path):
    """Begins a long message and does not end it."""
    connection = attached(path, "one", "half")
    connection.sendall(call(2, "echo", {"text": "h" * (29 << 20)})[:-3])
    time.sleep(10)


def slow(path):
    """Writes and reads a few bytes a second."""
    connection = attached(path, "storm", "slow")
    for byte in call(2, "t", {"text": "s" * 40}):
        connection.sendall(bytes([byte]))
        connection.recv(10)
        time.sleep(0.1)


def smuggler(path):
    """Writes what some readers take for more than one message, or for another one."""
    connection = attached(path, "one", "smuggler")
    lines = [
        b'{"jsonrpc":"2.0","id":2,"method":"ping"}\r{"jsonrpc":"2.0","id":1000,"result":{}}\r{"jsonrpc":"2.0","method":"x"}',
        b'{"jsonrpc":"2.0","id":3,"ID":4,"method":"tools/call","params":{"name":"echo","Name":"exit"}}',
        b'{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":1000}}',
        b"\x85\xe2\x80\xa8not json",
        b'{"jsonrpc":"2.0","id":5,"method":"tools/list","params":{"cursor":"' + b"c" * 100_000 + b'"}}',
    ]
    for _ in range(200):
        connection.sendall(random.choice(lines) + b"\n")
        time.sleep(0.02)


def pager(path):
    """Asks for lists without an end."""
    connection = attached(path, "pages", "pager")
    for number in range(2, 6):
        connection.sendall(json.dumps({"jsonrpc": "2.0", "id": number, "method": "tools/list"}).encode() + b"\n")
    time.sleep(3)


def hostile_process(kind, path, until):
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    while time.time() < until:
        try:
            kind(path)
        except OSError:
            # It was cut off: again.
            pass
        time.sleep(0.2)


def resident(pid):
    fields = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in fields if line.startswith("VmRSS"))


def status(binary, environment):
    done = subprocess.run([binary, "status", "--json"], env=environment, capture_output=True, text=True, timeout=60)
    return json.loads(done.stdout)


def run(binary, test_server, seconds, is_hostile):
    with tempfile.TemporaryDirectory() as home:
        script, config, path = f"{home}/server.py", Path(home, "config.toml"), f"{home}/sock"
        Path(script).write_text(SERVER)
        config.write_text(configuration(test_server, script, False))
        environment = {"PATH": os.environ["PATH"], "HOME": home, "XDG_RUNTIME_DIR": home, "TRUNKLINE_SOCKET": path}
        with open(os.devnull if LOG is None else LOG, "ab") as log:
            daemon = subprocess.Popen([binary, "--config", config, "run"], env=environment, stdout=log, stderr=log)
        try:
            while not os.path.exists(path):
                if daemon.poll() is not None:
                    sys.exit("the daemon has ended: --log FILE keeps why")
                time.sleep(0.05)
            return measure(binary, environment, daemon, path, config, (test_server, script), seconds, is_hostile)
        finally:
            daemon.terminate()
            daemon.wait(30)


def measure(binary, environment, daemon, path, config, servers, seconds, is_hostile):
    until, out = time.time() + seconds, multiprocessing.Queue()
    before = len(os.listdir(f"/proc/{daemon.pid}/fd"))
    runs = [multiprocessing.Process(target=honest_process, args=(path, until, out))]
    if is_hostile:
        kinds = [deaf, huge, half, slow, smuggler, pager]
        runs += [multiprocessing.Process(target=hostile_process, args=(kinds[at % len(kinds)], path, until)) for at in range(HOSTILE)]
    for process in runs:
        process.start()
    peak, waiting, killed, odd, killing, rewriting = 0, 0, 0, False, time.time(), time.time()
    while time.time() < until:
        peak = max(peak, resident(daemon.pid))
        if time.time() - killing > KILL_EVERY:
            killing = time.time()
            now = status(binary, environment)
            waiting = max(waiting, now["memory"]["waiting"])
            pids = [one["pid"] for server in now["servers"] if server["name"] in ("one", "two", "three") for one in server["instances"]]
            if pids:
                os.kill(random.choice(pids), signal.SIGKILL)
                killed += 1
        if time.time() - rewriting > REWRITE_EVERY:
            rewriting, odd = time.time(), not odd
            config.write_text(configuration(*servers, odd))
        time.sleep(0.02)
    found = out.get(timeout=2 * PATIENCE)
    for process in runs[1:]:
        process.terminate()
    for process in runs:
        process.join()
    # Servers are still at work for those who left.
    time.sleep(20)
    times = sorted(found["times"])
    at = lambda part: f"{times[int(len(times) * part)] * 1000:.0f}"
    print(f"{'beside hostile ones' if is_hostile else 'alone'}: {found['calls']} calls, {found['wrong']} wrong, {found['lost']} lost, "
          f"{found['refused']} attachments refused, {found['errors']} errors; ms: p50 {at(.5)}, p95 {at(.95)}, p99 {at(.99)}; servers killed: {killed}")
    print(f"  resident: peak {peak >> 20} MiB, afterwards {resident(daemon.pid) >> 20}; waiting, as seen now and then: {waiting >> 20} MiB, "
          f"afterwards {status(binary, environment)['memory']['waiting'] >> 20}; "
          f"descriptors: {before} before, {len(os.listdir(f'/proc/{daemon.pid}/fd'))} afterwards")
    for words, count in sorted(found["words"].items(), key=lambda pair: -pair[1])[:6]:
        print(f"  {count:6} {words}")
    return times[int(len(times) * 0.99)]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("binary", type=Path)
    parser.add_argument("test_server", type=Path)
    parser.add_argument("--seconds", type=float, default=300)
    parser.add_argument("--log", help="where the daemon's log goes")
    given = parser.parse_args()
    LOG = given.log
    programs = str(given.binary.resolve()), str(given.test_server.resolve())
    alone = run(*programs, given.seconds, False)
    beside = run(*programs, given.seconds, True)
    print(f"p99 beside hostile ones is {beside / alone:.1f} times what it is alone")
