// Reads bytes as a server on the TypeScript SDK does, and writes what each message is to it, like read.py.
import { ReadBuffer } from '@modelcontextprotocol/sdk/shared/stdio.js';

const chunks = [];
for await (const chunk of process.stdin) chunks.push(chunk);
const bytes = Buffer.concat(chunks);
let at = 0;
while (at < bytes.length) {
  const end = bytes.indexOf('\n', at) + 1;
  const buffer = new ReadBuffer();
  buffer.append(bytes.subarray(at, end));
  at = end;
  let seen = null;
  try {
    const { method, id, params = {} } = buffer.readMessage();
    const text = (value) => (typeof value === 'string' || typeof value === 'number' ? value : null);
    seen = [method, id ?? null, ...[params.name, params.uri, params.taskId, params.requestId].map(text)];
  } catch {}
  console.log(JSON.stringify(seen));
}
