// Adds the bearer token that a client cannot send, and changes nothing else; Host and Origin pass as they came.
// node forwarder.mjs TOKEN URL PATH: prints the URL of its own as the first line.
import http from 'node:http';

const [token, url, path] = process.argv.slice(2);
const { hostname, port } = new URL(url);
const server = http.createServer((request, response) => {
  const headers = { ...request.headers, authorization: `Bearer ${token}` };
  const onward = http.request({ hostname, port, path, method: request.method, headers }, (answer) => {
    response.writeHead(answer.statusCode, answer.headers);
    answer.pipe(response);
  });
  response.on('close', () => onward.destroy());
  onward.on('error', () => response.destroy());
  request.pipe(onward);
});
server.listen(0, '127.0.0.1', () => console.log(`http://127.0.0.1:${server.address().port}/mcp`));
