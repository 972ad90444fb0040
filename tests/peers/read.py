"""Reads lines as a server on the Python SDK does, and writes what each is to it: [method, id, name, uri, task, cancelled]."""
import io
import json
import sys

import mcp_types as types

for line in io.TextIOWrapper(sys.stdin.buffer, encoding="utf-8", errors="replace"):
    try:
        message = types.jsonrpc_message_adapter.validate_json(line, by_name=False)
        seen = [message.method, getattr(message, "id", None)]
        whole = message.model_dump(by_alias=True, mode="json", exclude_none=True)
        kind = types.client_request_adapter if "id" in whole else types.client_notification_adapter
        try:
            params = kind.validate_python(whole).params
        except Exception:
            params = None
        for name in ("name", "uri", "task_id", "request_id"):
            value = getattr(params, name, None)
            seen.append(None if value is None or callable(value) else value if isinstance(value, int) else str(value))
    except Exception:
        seen = None
    print(json.dumps(seen))
