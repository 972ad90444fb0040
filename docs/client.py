#!/usr/bin/env python3
"""Prints the calls that failed in the last hour, and then every call as it ends: python3 client.py SOCKET"""
import json, socket, sys

connection = socket.socket(socket.AF_UNIX)
connection.connect(sys.argv[1])
lines = connection.makefile("r", encoding="utf-8")


def send(number, method, **params):
    message = {"jsonrpc": "2.0", "id": number, "method": method, "params": params}
    connection.sendall((json.dumps(message) + "\n").encode())


send(1, "daemon.calls", failed=True, since="1h")
send(2, "daemon.subscribe_calls")
for line in lines:
    message = json.loads(line)
    calls = message["result"] if message.get("id") == 1 else [message["params"]["result"]] if "params" in message else []
    for call in calls:
        print(call["at"], call["agent"].get("name"), call["server"], call.get("subject"), call["outcome"], flush=True)
