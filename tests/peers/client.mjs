// An agent on the published TypeScript client: lists, calls, and prints what it saw as one line of JSON.
// node client.mjs legacy|auto COMMAND [ARGUMENT …], or node client.mjs legacy|auto URL, with the token in PEER_TOKEN
import { Client, StreamableHTTPClientTransport } from '@modelcontextprotocol/client';
import { StdioClientTransport } from '@modelcontextprotocol/client/stdio';

const [mode, command, ...args] = process.argv.slice(2);
const versionNegotiation = mode === 'auto' ? { mode: 'auto' } : undefined;
const client = new Client({ name: 'peer', version: '1' }, { capabilities: {}, versionNegotiation });
const headers = { Authorization: `Bearer ${process.env.PEER_TOKEN}` };
const transport = command.startsWith('http')
  ? new StreamableHTTPClientTransport(new URL(command), { requestInit: { headers } })
  : new StdioClientTransport({ command, args, env: process.env, stderr: 'inherit' });
await client.connect(transport);
const calls = JSON.parse(process.env.PEER_CALLS ?? '[]');
const seen = { server: client.getServerVersion(), tools: (await client.listTools()).tools, results: [] };
for (const { name, arguments: given } of calls) {
  const progress = [];
  const result = await client.callTool({ name, arguments: given }, { onprogress: (step) => progress.push(step) });
  // This client loses a progress message that it reads together with the result, with and without trunkline.
  seen.results.push({ result, progress: progress.filter((step) => step.progress < step.total) });
}
console.log(JSON.stringify(seen));
await client.close();
