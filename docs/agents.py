#!/usr/bin/env python3
"""Writes docs/agents/*.md, one page for each agent of config/agents.toml, from what the real program does in an empty home folder.
usage: python3 docs/agents.py BINARY"""
import pathlib, subprocess, sys, tempfile, tomllib

root = pathlib.Path(__file__).resolve().parent.parent
binary = str(pathlib.Path(sys.argv[1]).resolve())
agents = tomllib.loads((root / "config/agents.toml").read_text())["agent"]

# What people stumble over, as seen with the real programs.
NOTES = {
    "claude-code": ["Claude Code takes servers from `mcpServers` only; an entry with a `url` and no `type` is skipped by it, and taken over by `trunkline import`.", "The entries of single projects stand in the same file, under `projects`; `import` takes them over, `attach` leaves them alone.", "Claude Code writes into its file whenever it runs. `detach` knows that, and takes only its own entry out then."],
    "codex": ["Codex asks for the tools once in a session: tools that a server gains later are there in the next one.", "`codex mcp add` writes all of `[mcp_servers]` anew and loses comments in it; `attach` does not."],
    "cursor": ["A file that Cursor cannot read gives it no servers at all: comments and trailing commas are kept as they are."],
    "vscode": ["`${input:…}` asks in VS Code's window; `import` makes a `${keyring:…}` of it, and says which secrets are needed."],
    "gemini": ["`gemini mcp list` shows servers of folders that it does not trust as disabled."],
    "opencode": ["opencode adds `$schema` to its file when it starts. `detach` knows that."],
    "claude-desktop": ["Claude Desktop knows servers on stdio only: servers over HTTP come to it through trunkline.", "Start Claude Desktop again after `attach`."],
    "windsurf": ["Newer releases keep the file in `~/.config/devin/`; `attach` takes the one that is there."],
    "copilot": ["The servers of `.vscode/mcp.json` are not read by it any more."],
    "qwen": ["Qwen Code writes `$version` into its file. `detach` knows that."],
    "cline": ["The extension of VS Code and the program `cline` share this file."],
    "goose": ["Extensions of goose's own (`builtin`, `platform`) are parts of goose: `import` passes them over."],
    "roo": ["Roo Code's file lies below VS Code's settings; projects have `.roo/mcp.json`."],
    "continue": ["Servers are a list there, each with its `name`; `uses:` names blocks of Continue's hub, which `import` cannot follow."],
    "jetbrains": ["The AI Assistant keeps its servers in the IDE: paste the entry below in its settings, as JSON."],
}

def shown(agent, home):
    run = lambda *words: subprocess.run([binary, *words], capture_output=True, text=True, check=True, env={"HOME": home, "PATH": "/usr/bin:/bin", "TMPDIR": home}).stdout
    lines = run("attach", agent["id"], "--dry-run").splitlines()
    added = [line[1:] for line in lines if line.startswith("+") and not line.startswith("+++")]
    return "\n".join(added).replace(binary, "/usr/bin/trunkline")

pages = root / "docs/agents"
pages.mkdir(exist_ok=True)
index = ["# Agents\n", "These are the agents that trunkline knows: it takes their servers over, and writes itself into their files.", "Their places and forms are in [config/agents.toml](../../config/agents.toml); another agent is a row there.\n", "| agent | `attach` and `import` call it | its file |", "|---|---|---|"]
with tempfile.TemporaryDirectory() as home:
    for agent in agents:
        own, title = agent["id"], agent["title"]
        place = next((p for p in agent["user"] if p.startswith(("~", "config:"))), agent["user"][0]).replace("config:", "~/.config/")
        index.append(f"| [{title}]({own}.md) | `{own}` | `{place}` |")
        language = {"json": "json", "toml": "toml", "yaml": "yaml"}[agent["format"]]
        out = [f"# {title}\n", f"This page shows how {title} uses trunkline, and how it stops.\n", "```sh", f"trunkline import --from {own}      # its servers become trunkline's; its file is not touched", f"trunkline attach {own} --replace   # it has them through trunkline from now on", "```\n"]
        out += [f"`attach` shows the change first. Into `{place}` it writes:\n", f"```{language}", shown(agent, home), "```\n"]
        variables = [p[1:].split("/")[0] for p in agent["user"] if p.startswith("$")]
        if variables:
            out.append(f"Where `{'`, `'.join(variables)}` {'is' if len(variables) == 1 else 'are'} set, the file is there.")
        if agent.get("project"):
            files = ", ".join(f"`{p}`" for p in agent["project"])
            out.append(f"A project's file ({files}) is left alone unless `--file` names it.")
        out.append("Comments, other keys and the order of the file stay as they are.\n")
        out.append("## See that it works\n")
        if agent.get("see"):
            kind = agent["see"]
            out.append(f"```sh\n{kind}\n```\n" if agent.get("program") and kind.startswith(agent["program"]) else f"{title} shows its servers in {kind}.")
        out.append("`trunkline status` shows the agent while a session of it runs. Sessions that ran before `attach` must be started again.\n")
        if own in NOTES:
            out += ["## Good to know\n"] + [f"- {note}" for note in NOTES[own]] + [""]
        if agent.get("own"):
            command = agent["own"].replace("{name}", "trunkline").replace("{words}", "trunkline connect")
            out += ["## By its own command\n", f"```sh\n{command}\n```\n", "An entry that was written so is not known to `detach`: remove it as you made it.\n"]
        out += ["## Back\n", "```sh", f"trunkline detach {own}", "```\n", f"The file is as it was before `attach`, to the byte. If somebody edited it since, `detach` shows the edit and leaves the file alone; `--keep-edits` takes only trunkline's entry out, and puts back what `attach` had taken out. What {title} itself writes beside its servers is no edit."]
        (pages / f"{own}.md").write_text("\n".join(out) + "\n")
index += ["", "An agent that is not here needs one entry: the command `trunkline`, with the argument `connect`."]
(pages / "README.md").write_text("\n".join(index) + "\n")
