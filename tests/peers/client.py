"""An agent on the published Python client: lists, calls, and prints what it saw as one line of JSON.

client.py COMMAND [ARGUMENT …], or client.py URL, with the token in PEER_TOKEN
"""

import asyncio
import json
import os
import sys

import httpx2
from mcp import Client
from mcp.client.stdio import StdioServerParameters, stdio_client
from mcp.client.streamable_http import streamable_http_client


async def main() -> None:
    command, *args = sys.argv[1:]
    if command.startswith("http"):
        headers = {"Authorization": f"Bearer {os.environ['PEER_TOKEN']}"}
        transport = streamable_http_client(command, http_client=httpx2.AsyncClient(headers=headers))
    else:
        transport = stdio_client(StdioServerParameters(command=command, args=args, env=dict(os.environ)))
    async with Client(transport) as client:
        tools = await client.list_tools()
        seen = {"tools": [tool.model_dump(mode="json") for tool in tools.tools], "results": []}
        for call in json.loads(os.environ.get("PEER_CALLS", "[]")):
            result = await client.call_tool(call["name"], call["arguments"])
            seen["results"].append(result.model_dump(mode="json"))
        print(json.dumps(seen, sort_keys=True))


asyncio.run(main())
