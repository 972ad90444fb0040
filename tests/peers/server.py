"""A server of the MCP SDK for Python over HTTP, in both eras: python server.py PORT"""

import sys

from mcp.server.mcpserver import MCPServer

server = MCPServer("python")


@server.tool()
def add(a: int, b: int) -> int:
    """Adds two numbers."""
    return a + b


@server.resource("note://{name}")
def note(name: str) -> str:
    """A note of that name."""
    return f"note {name}"


server.run("streamable-http", host="127.0.0.1", port=int(sys.argv[1]))
