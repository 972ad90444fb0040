"""A client's standard streams as a connection to the daemon's socket: pipe.py SOCKET SERVER."""

import json
import socket
import sys
import threading

connection = socket.socket(socket.AF_UNIX)
connection.connect(sys.argv[1])
lines = connection.makefile("rb")
attach = {"jsonrpc": "2.0", "id": 0, "method": "daemon.attach", "params": {"server": sys.argv[2], "client": "judge"}}
connection.sendall(json.dumps(attach).encode() + b"\n")
lines.readline()


def forward():
    for line in sys.stdin.buffer:
        connection.sendall(line)
    connection.shutdown(socket.SHUT_WR)


threading.Thread(target=forward, daemon=True).start()
for line in lines:
    sys.stdout.buffer.write(line)
    sys.stdout.buffer.flush()
