#!/usr/bin/env python3
"""The published SDKs' clients as judges: what each gets from a server that breaks the specification, directly and through
trunkline. See README.md."""

import argparse
import concurrent.futures
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
PEERS = HERE.parent / "peers"
PYTHON = PEERS / "venv/bin/python"
QUIRKY = [sys.executable, str(HERE / "quirky.py")]
CALLS = json.dumps([{"name": "t", "arguments": {}}])
# How good an outcome is.
RANKS = {"ok": 2, "error": 1, "hangs": 0}


def clients(rmcp):
    return {
        "typescript": ["node", str(PEERS / "client.mjs"), "legacy"],
        "python": [str(PYTHON), str(PEERS / "client.py")],
        "rmcp": [str(rmcp)],
    }


def ended(process):
    for stop in (process.terminate, process.kill):
        stop()
        try:
            return process.wait(5)
        except subprocess.TimeoutExpired:
            pass


def run(command, words, limit, **environment):
    """One client to its end: how it came out, and what it saw."""
    process = subprocess.Popen(
        [*command, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
        env={**os.environ, "PEER_CALLS": CALLS, **environment})
    try:
        out, err = process.communicate(timeout=limit)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        return "hangs", ""
    try:
        seen = json.loads(out.strip().splitlines()[-1])
    except (ValueError, IndexError):
        return "error", err.strip()[-300:]
    names = sorted(tool["name"] for tool in seen["tools"])
    texts = [part.get("text", "") for result in seen["results"] for part in (result.get("result") or result).get("content", [])]
    return "ok", json.dumps([names, texts])


class Server:
    """One HTTP server of quirky.py."""

    def __init__(self, name):
        self.process = subprocess.Popen([*QUIRKY, "http", name], stdout=subprocess.PIPE, text=True)
        self.url = f"http://127.0.0.1:{self.process.stdout.readline().strip()}/mcp"


class Daemon:
    """A daemon with one server."""

    def __init__(self, trunkline, transport, name):
        self.folder = tempfile.TemporaryDirectory()
        folder, self.trunkline = Path(self.folder.name), trunkline
        self.server = Server(name) if transport == "http" else None
        entry = f"url = {json.dumps(self.server.url)}" if self.server else f"command = {json.dumps(QUIRKY[0])}\nargs = {json.dumps([*QUIRKY[1:], transport, name])}"
        (folder / "config.toml").write_text(f'[daemon]\ndiscover = "never"\n[http]\nlisten = "127.0.0.1:0"\n[servers.q]\nstartup_timeout = "8s"\n{entry}\n')
        self.environment = {
            "TRUNKLINE_CONFIG": str(folder / "config.toml"),
            "TRUNKLINE_SOCKET": str(folder / "run/socket"),
            "TRUNKLINE_STATE_DIR": str(folder / "state"),
        }
        self.process = subprocess.Popen([trunkline, "run"], env={**os.environ, **self.environment}, stdin=subprocess.DEVNULL, stderr=open(folder / "log", "w"))
        end = time.time() + 20
        while time.time() < end and not self.status().get("http", {}).get("url"):
            time.sleep(0.05)
        self.url = self.status()["http"]["url"] + "/q"
        self.token = (folder / "state/http-token").read_text().strip()

    def status(self):
        out = subprocess.run([self.trunkline, "status", "--json"], env={**os.environ, **self.environment}, capture_output=True, text=True).stdout
        return json.loads(out) if out.startswith("{") else {}

    def end(self):
        ended(self.process)
        if self.server:
            ended(self.server.process)
        self.folder.cleanup()


def ways(transport, name, daemon):
    """How a client gets to a server: the words of its command line, and its environment."""
    direct = Server(name) if transport == "http" else None
    yield "direct", [direct.url] if direct else [*QUIRKY, transport, name], {"PEER_TOKEN": "none"}
    if direct:
        ended(direct.process)
    yield "socket", [sys.executable, str(HERE / "pipe.py"), daemon.environment["TRUNKLINE_SOCKET"], "q"], {}
    yield "shim", [daemon.trunkline, "connect", "q"], daemon.environment
    yield "http", [daemon.url], {"PEER_TOKEN": daemon.token}


def judge(trunkline, rmcp, limit, transport, name, wanted):
    found = {}
    for client, command in clients(rmcp).items():
        if client not in wanted:
            continue
        daemon = Daemon(trunkline, transport, name)
        try:
            found[client] = {way: run(command, words, limit, **more) for way, words, more in ways(transport, name, daemon)}
        finally:
            daemon.end()
    return transport, name, found


def verdict(ways):
    """What is worse through trunkline than directly."""
    (direct, seen), worse = ways["direct"], []
    for way, (outcome, through) in ways.items():
        differs = outcome == direct == "ok" and seen != through
        if RANKS[outcome] < RANKS[direct] or differs:
            worse.append(f"{way}: {outcome}{', and differs' if differs else ''}: {through}")
    return worse


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trunkline", default="target/release/trunkline")
    parser.add_argument("--rmcp", help="the client on rmcp (default: examples/judge beside trunkline)")
    parser.add_argument("--clients", default="typescript,python,rmcp")
    parser.add_argument("--quirks", help="only these, with commas between them")
    parser.add_argument("--limit", type=float, default=20, help="seconds for each client")
    parser.add_argument("--jobs", type=int, default=2)
    options = parser.parse_args()
    trunkline = str(Path(options.trunkline).resolve())
    rmcp = options.rmcp or Path(trunkline).parent / "examples/judge"
    listed = subprocess.run([*QUIRKY, "list"], capture_output=True, text=True, check=True).stdout
    all_quirks = [line.split(" ") for line in listed.splitlines()]
    chosen = [pair for pair in all_quirks if not options.quirks or pair[1] in options.quirks.split(",")]
    wanted = options.clients.split(",")
    failed = []
    print(f"{'quirk':26}" + "".join(f"{client:34}" for client in wanted))
    with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
        runs = [pool.submit(judge, trunkline, rmcp, options.limit, *pair, wanted) for pair in chosen]
        for done in runs:
            _, name, found = done.result()
            cells = []
            for client in wanted:
                cells.append(" ".join(f"{way[:2]}:{outcome}" for way, (outcome, _) in found[client].items()))
                failed += [f"{name}, {client}, {worse}" for worse in verdict(found[client])]
            print(f"{name:26}" + "".join(f"{cell:34}" for cell in cells), flush=True)
    for worse in failed:
        print("WORSE", worse)
    print(f"{len(chosen)} quirks, {len(failed)} outcomes worse than directly")
    return 1 if failed else 0


sys.exit(main())
