"""An agent on the published Python client: lists, calls, and prints what it saw as one line of JSON.

client.py COMMAND [ARGUMENT …]
"""

import asyncio
import json
import os
import sys

from mcp import Client
from mcp.client.stdio import StdioServerParameters, stdio_client


async def main() -> None:
    command, *args = sys.argv[1:]
    server = StdioServerParameters(command=command, args=args, env=dict(os.environ))
    async with Client(stdio_client(server)) as client:
        tools = await client.list_tools()
        seen = {"tools": [tool.model_dump(mode="json") for tool in tools.tools], "results": []}
        for call in json.loads(os.environ.get("PEER_CALLS", "[]")):
            result = await client.call_tool(call["name"], call["arguments"])
            seen["results"].append(result.model_dump(mode="json"))
        print(json.dumps(seen, sort_keys=True))


asyncio.run(main())
