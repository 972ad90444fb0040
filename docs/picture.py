#!/usr/bin/env python3
"""Makes pictures from what the real programs print: docs/picture.svg of `trunkline demo` and `status` with three servers,
docs/picture-init.svg of `trunkline init` with the files of two agents, and `doctor` after it; docs/picture-tools.svg of `tools`;
docs/picture-watch.svg of `watch` in tmux, and docs/picture-dashboard.png of `dashboard` in Debian's Chromium (`tests/run` installs both).

    cargo build --release && docs/picture.py target/release/trunkline
"""
import html, json, os, pathlib, shutil, signal, subprocess, sys, tempfile, time

WIDTH, SIZE, LINE = 100, 13, 18
SERVERS = {"calendar": "all", "search": "all", "browser": "session"}


def environment(folder):
    return {
        "PATH": os.environ["PATH"],
        "HOME": folder,
        "TRUNKLINE_CONFIG": f"{folder}/config.toml",
        "TRUNKLINE_SOCKET": f"{folder}/run/socket",
        "TRUNKLINE_STATE_DIR": f"{folder}/state",
    }


def used(program, look):
    """What `look` sees of three servers that three agents use, and one that does not start."""
    folder = tempfile.mkdtemp(prefix="t")
    try:
        os.mkdir(f"{folder}/run", 0o700)
        os.mkdir(f"{folder}/project")
        tables = [f'[servers.{name}]\ncommand = "{program}"\nargs = ["demo-server"]\nshare = "{share}"\n' for name, share in SERVERS.items()]
        pathlib.Path(folder, "config.toml").write_text("".join(tables))
        env = environment(folder)
        daemon = subprocess.Popen([program, "run"], env=env, cwd=folder, stderr=subprocess.DEVNULL)
        try:
            agents = [attach(program, env, name) for name in ("claude-code", "codex", "cursor")]
            seen = look(env, agents)
            for agent in agents:
                agent.stdin.close()
                agent.wait()
        finally:
            daemon.send_signal(signal.SIGTERM)
            daemon.wait()
        # What is drawn in a box keeps its width.
        return seen.replace(f"{folder}/project│", "~/project".ljust(len(folder) + 8) + "│").replace(f"{folder}/project ", "~/project".ljust(len(folder) + 9)).replace(folder, "~") if seen else seen
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def printed(program, *commands):
    """What commands print beside three servers and three agents, and the commands."""

    def look(env, agents):
        run = lambda words: subprocess.run([program, *words], env={**env, "TRUNKLINE_WIDTH": str(WIDTH)}, capture_output=True, text=True, check=True).stdout
        return "\0".join(map(run, commands))

    return list(zip((" ".join(["trunkline", *words]) for words in commands), used(program, look).split("\0")))


def work(agents):
    """Calls of all agents, of which some fail."""
    for number in range(10, 22):
        for agent in agents:
            server = list(SERVERS)[number % len(SERVERS)]
            tool = "add" if number % 5 else "subtract"
            ask(agent, '{"jsonrpc":"2.0","id":%d,"method":"tools/call","params":{"name":"%s__%s","arguments":{"a":1,"b":2}}}' % (number, server, tool), number)


def watch(program):
    """What `watch` shows in a terminal."""

    def look(env, agents):
        work(agents)
        tmux = ["tmux", "-S", f"{env['HOME']}/tmux"]
        subprocess.run([*tmux, "new-session", "-d", "-x", str(WIDTH), "-y", "30", program, "watch"], env=env, check=True)
        for _ in range(100):
            time.sleep(0.1)
            shown = subprocess.run([*tmux, "capture-pane", "-p"], env=env, capture_output=True, text=True).stdout
            if "subtract" in shown:
                break
        subprocess.run([*tmux, "kill-server"], env=env)
        return shown

    return used(program, look)


def dashboard(program, folder):
    """The page, as a browser shows it."""
    peers = pathlib.Path(__file__).parent.parent / "tests/peers/page.mjs"

    def look(env, agents):
        work(agents)
        page = subprocess.Popen([program, "dashboard", "--no-open"], env=env, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        browser = subprocess.Popen(["node", str(peers), page.stdout.readline().strip(), folder], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        browser.stdout.readline()
        for number in range(30, 35):
            ask(agents[0], '{"jsonrpc":"2.0","id":%d,"method":"tools/call","params":{"name":"search__add","arguments":{"a":1,"b":2}}}' % number, number)
        browser.stdin.write("go on\n")
        browser.stdin.flush()
        browser.wait()
        page.send_signal(signal.SIGINT)
        page.wait()

    used(program, look)


def attach(program, env, name):
    """An agent that has called a tool of each server."""
    for _ in range(200):
        if os.path.exists(env["TRUNKLINE_SOCKET"]):
            break
        time.sleep(0.05)
    agent = subprocess.Popen([program, "connect", "--client", name], env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1,
                             cwd=os.path.join(env["HOME"], "project"))
    hello = '{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"%s","version":"1"}}}'
    ask(agent, hello % name, 0)
    agent.stdin.write('{"jsonrpc":"2.0","method":"notifications/initialized"}\n')
    for number, server in enumerate(SERVERS, 1):
        call = '{"jsonrpc":"2.0","id":%d,"method":"tools/call","params":{"name":"%s__add","arguments":{"a":1,"b":2}}}'
        ask(agent, call % (number, server), number)
    return agent


def ask(agent, line, number):
    agent.stdin.write(line + "\n")
    while f'"id":{number},' not in agent.stdout.readline():
        pass


def set_up(program):
    """What `init` and `doctor` print for a person with two agents."""
    home = tempfile.mkdtemp(prefix="t")
    server = {"command": "trunkline", "args": ["demo-server"]}
    claude = {"mcpServers": {"calendar": server, "issues": {**server, "env": {"ISSUES_TOKEN": "ghp_" + "x7" * 18}}}}
    try:
        os.mkdir(f"{home}/tmp", 0o700)
        os.mkdir(f"{home}/bin")
        shutil.copy(program, f"{home}/bin/trunkline")
        pathlib.Path(home, ".claude.json").write_text(json.dumps(claude, indent=2) + "\n")
        os.mkdir(f"{home}/.codex")
        pathlib.Path(home, ".codex/config.toml").write_text('model = "gpt"\n\n[mcp_servers.calendar]\ncommand = "trunkline"\nargs = ["demo-server"]\ntool_timeout_sec = 90\n')
        env = {"HOME": home, "TMPDIR": f"{home}/tmp", "PATH": f"{home}/bin:/usr/bin:/bin", "TRUNKLINE_WIDTH": str(WIDTH), "SHELL": "/bin/sh"}
        run = lambda *words: subprocess.run([f"{home}/bin/trunkline", *words], env=env, cwd=home, capture_output=True, text=True).stdout.replace(home, "~")
        printed = [(" ".join(["trunkline", *words]), run(*words)) for words in (["init", "--yes", "--no-service"], ["doctor"])]
        run("uninstall", "--yes")
        return printed
    finally:
        shutil.rmtree(home, ignore_errors=True)


def drawing(parts):
    lines = [line for command, printed in parts for line in ["$ " + command, *printed.rstrip().split("\n"), ""]][:-1]
    width, height = 24 + WIDTH * SIZE * 0.602, 56 + len(lines) * LINE
    rows = []
    for number, line in enumerate(lines):
        kind = "prompt" if line.startswith("$ ") else "text"
        rows.append(f'<text class="{kind}" x="16" y="{52 + number * LINE}">{html.escape(line[:WIDTH])}</text>')
    return f"""<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height}" role="img">
<title>What {" and ".join(f"`{command}`" for command, _ in parts)} print</title>
<style>
text {{ font: {SIZE}px ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; white-space: pre; fill: #d8dee9 }}
.prompt {{ fill: #8fbcbb }}
.ground {{ fill: #20242c }}
@media (prefers-color-scheme: light) {{
  text {{ fill: #24292f }}
  .prompt {{ fill: #0a6b6a }}
  .ground {{ fill: #f4f5f7 }}
}}
</style>
<rect class="ground" width="100%" height="100%" rx="10"/>
<circle cx="20" cy="20" r="6" fill="#bf616a"/><circle cx="40" cy="20" r="6" fill="#ebcb8b"/><circle cx="60" cy="20" r="6" fill="#a3be8c"/>
{chr(10).join(rows)}
</svg>
"""


def main():
    program = os.path.abspath(sys.argv[1])
    demo = subprocess.run([program, "demo"], capture_output=True, text=True, check=True).stdout
    picture = drawing([("trunkline demo", demo), *printed(program, ["status"])])
    pathlib.Path(__file__).with_name("picture.svg").write_text(picture)
    pathlib.Path(__file__).with_name("picture-init.svg").write_text(drawing(set_up(program)))
    pathlib.Path(__file__).with_name("picture-tools.svg").write_text(drawing(printed(program, ["tools"], ["tools", "calendar", "add"])))
    pathlib.Path(__file__).with_name("picture-watch.svg").write_text(drawing([("trunkline watch", watch(program))]))
    with tempfile.TemporaryDirectory() as folder:
        dashboard(program, folder)
        shutil.copy(f"{folder}/dashboard-light.png", pathlib.Path(__file__).with_name("picture-dashboard.png"))


main()
