"""An agent on the published FastMCP client: lists, calls, and prints what it saw as one line of JSON.

fast.py COMMAND [ARGUMENT …], or fast.py URL, with the token in PEER_TOKEN
"""

import asyncio
import json
import os
import sys

from fastmcp import Client
from fastmcp.client.transports import StdioTransport, StreamableHttpTransport


async def main() -> None:
    command, *args = sys.argv[1:]
    if command.startswith("http"):
        headers = {"Authorization": f"Bearer {os.environ['PEER_TOKEN']}"}
        transport = StreamableHttpTransport(command, headers=headers)
    else:
        transport = StdioTransport(command=command, args=args, env=dict(os.environ))
    async with Client(transport) as client:
        tools = await client.list_tools()
        seen = {"tools": [tool.model_dump(mode="json") for tool in tools], "results": []}
        for call in json.loads(os.environ.get("PEER_CALLS", "[]")):
            result = await client.call_tool_mcp(call["name"], call["arguments"])
            seen["results"].append(result.model_dump(mode="json"))
        print(json.dumps(seen, sort_keys=True))


asyncio.run(main())
