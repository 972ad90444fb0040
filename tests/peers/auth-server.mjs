// An OAuth 2.1 authorization server (oidc-provider) and an MCP server that it guards, for tests of login and refresh.
// node auth-server.mjs prints {"issuer", "mcp", "control"} on one line once it listens, and ends with its stdin.
//
// The control URL speaks JSON:
//   GET /log      {as: […], mcp: […]}, every request since the start or the last DELETE /log
//   DELETE /log   forgets both lists
//   GET /issued   every access and refresh token that was given out, to be looked for where none may be
//   GET /stats    {token: {refresh_ok, refresh_failed, code_ok, …}, refresh_tokens}: the answers in the log, and
//                 how many refresh tokens are good now
//   POST /faults  changes the faults named in its body and leaves the others; null ends one, an unknown name is a 400
//
//   ttl                     seconds an access token lives, 5 unless set
//   token_delay_ms          the token endpoint waits before it does anything
//   token_status            it refuses with this status and, with retry_after, that many seconds in Retry-After
//   token_hang              it never answers, and does nothing
//   token_lost              it does its work, and then cuts the connection instead of answering
//   drop_refresh_token      its answers have no refresh token, and a refresh leaves the old one good
//   token_times             those above that are about the token endpoint are over after this many token requests
//   metadata_strip, _set    members missing from the authorization server's metadata; {member: value} put into it
//   registration_off        dynamic registration is refused, and is not in the metadata
//   client_documents        {URL: document}, the client metadata documents there are; without it they are not supported
//   issuer_lie              the iss of authorization responses; '' leaves it out
//   mcp_status, mcp_times   the MCP endpoint answers with this status, this many times or until it is changed
//   resources               the URLs of other MCP servers that tokens are given out for
//   no_scope_challenge      the MCP endpoint's challenges do not say which scope they want
//   revoke_all              every session, grant, code and refresh token is gone, at once
//   forget_clients          every dynamically registered client is gone, at once
//   reset                   ends all faults, before the rest of the body
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { createServer } from 'node:http';
import { text } from 'node:stream/consumers';
import { setTimeout as sleep } from 'node:timers/promises';
import { exportJWK, generateKeyPair, jwtVerify } from 'jose';
import Provider, { errors } from 'oidc-provider';

const TOKEN_FAULTS = [
  'token_delay_ms', 'token_status', 'retry_after', 'token_hang', 'token_lost', 'drop_refresh_token', 'token_times',
];
const MCP_FAULTS = ['mcp_status', 'mcp_times'];
const FAULTS = [
  ...TOKEN_FAULTS, ...MCP_FAULTS, 'ttl', 'metadata_strip', 'metadata_set', 'registration_off', 'client_documents',
  'issuer_lie', 'no_scope_challenge', 'resources',
];
const DEFAULTS = { ttl: 5 };
const GRANTS = { authorization_code: 'code', refresh_token: 'refresh', client_credentials: 'client_credentials' };

const log = { as: [], mcp: [] };
const issued = [];
let faults = { ...DEFAULTS };

// Takes the faults for one request; those that were for a number of requests are over after the last.
function take(names, times) {
  const taken = { ...faults };
  if (faults[times] && --faults[times] === 0) for (const name of names) delete faults[name];
  return taken;
}

// A request is in the log from its arrival, so that one that never gets an answer is there too, with the status null.
function record(list, req, res) {
  const entry = { method: req.method, path: new URL(req.url, 'http://localhost').pathname, status: null };
  list.push(entry);
  res.once('finish', () => { entry.status = res.statusCode; });
  return entry;
}

// A request that cannot be read is the fault of the client or the test, which this process outlives.
function guard(serve) {
  return (req, res) => serve(req, res).catch((error) => res.writeHead(400).end(error.message));
}

async function listen(server) {
  await once(server.listen(0, '127.0.0.1'), 'listening');
  return `http://127.0.0.1:${server.address().port}`;
}

const [asServer, mcpServer, controlServer] = [createServer(), createServer(), createServer()];
const [issuer, mcpOrigin, control] = await Promise.all([asServer, mcpServer, controlServer].map(listen));
const mcp = `${mcpOrigin}/mcp`;
const { privateKey, publicKey } = await generateKeyPair('RS256', { extractable: true });

// --- The authorization server ---

const stores = {};

// The provider's own in-memory adapter keeps the last thousand rows and cannot be emptied from outside.
class Adapter {
  constructor(model) { this.rows = (stores[model] ??= new Map()); }
  async upsert(id, row) { this.rows.set(id, row); }
  async find(id) { return this.rows.get(id); }
  async findByUid(uid) { return [...this.rows.values()].find((row) => row.uid === uid); }
  async consume(id) { this.rows.get(id).consumed = Math.floor(Date.now() / 1000); }
  async destroy(id) { this.rows.delete(id); }
  async revokeByGrantId(grantId) {
    for (const [id, row] of this.rows) if (row.grantId === grantId) this.rows.delete(id);
  }
}

// The provider's notices about its defaults would break the promise of one line on stdout.
console.info = () => {};

const provider = new Provider(issuer, {
  adapter: Adapter,
  clients: [
    {
      client_id: 'preset',
      client_secret: 'preset-secret',
      // Only a native client may come back on another port than the one that it registered (RFC 8252 section 7.3).
      application_type: 'native',
      grant_types: ['authorization_code', 'refresh_token'],
      redirect_uris: ['127.0.0.1', 'localhost', '[::1]'].map((host) => `http://${host}/callback`),
    },
    {
      client_id: 'robot',
      client_secret: 'robot-secret',
      grant_types: ['client_credentials'],
      redirect_uris: [],
      response_types: [],
    },
  ],
  clientAuthMethods: ['none', 'client_secret_basic', 'client_secret_post', 'private_key_jwt'],
  cookies: { keys: [randomUUID()] },
  // Tokens outlive the browser session that they came from, also those without offline_access.
  expiresWithSession: () => false,
  features: {
    clientCredentials: { enabled: true },
    clientIdMetadataDocument: {
      enabled: true,
      ack: 'draft-02',
      // This is asked for a document in the provider's cache too, so that a document can be taken away again.
      allowClient: (ctx, { clientId }) => Object.hasOwn(faults.client_documents ?? {}, clientId),
    },
    devInteractions: { enabled: false },
    registration: { enabled: true },
    resourceIndicators: {
      enabled: true,
      getResourceServerInfo: (ctx, resource) => {
        if (resource !== mcp && !faults.resources?.includes(resource)) throw new errors.InvalidTarget();
        return { scope: 'mcp admin', audience: resource, accessTokenTTL: faults.ttl, accessTokenFormat: 'jwt' };
      },
      useGrantedResource: () => true,
    },
    revocation: { enabled: true },
  },
  // A client metadata document has an https URL, which nothing on this machine can serve.
  fetch: async (url) => Response.json(faults.client_documents[url]),
  findAccount: (ctx, sub) => ({ accountId: sub, claims: () => ({ sub }) }),
  // Clients that may refresh get a refresh token whether they ask for offline_access or not.
  issueRefreshToken: (ctx, client) => client.grantTypeAllowed('refresh_token'),
  jwks: { keys: [{ ...await exportJWK(privateKey), alg: 'RS256', use: 'sig', kid: 'fixture' }] },
  pkce: { required: () => true },
  // A refresh that is answered without a refresh token means that the old one stays (RFC 6749 section 6).
  rotateRefreshToken: (ctx) => !ctx.state.fault.drop_refresh_token,
  responseTypes: ['code'],
  scopes: ['openid', 'offline_access', 'mcp', 'admin'],
});
provider.on('server_error', (ctx, error) => console.error(error));

function clientAuth(ctx, form) {
  if (ctx.get('authorization')) return 'client_secret_basic';
  if (form.has('client_assertion')) return 'private_key_jwt';
  return form.has('client_secret') ? 'client_secret_post' : 'none';
}

// The middlewares below stand before the provider, as a proxy would; this one is the log.
provider.use(async (ctx, next) => {
  const entry = record(log.as, ctx.req, ctx.res);
  // The provider takes a body that was read before it from here.
  ctx.req.body = await text(ctx.req);
  const form = new URLSearchParams(ctx.is('urlencoded') ? ctx.req.body : ctx.querystring);
  entry.params = [...form.keys()];
  for (const name of ['grant_type', 'resource', 'scope']) if (form.has(name)) entry[name] = form.get(name);
  if (ctx.path === '/token') entry.client_auth = clientAuth(ctx, form);
  await next();
  if (ctx.path === '/reg') entry.registration = ctx.oidc?.body;
});

// These two are the faults: of the requests, and of the answers of the provider.
provider.use(async (ctx, next) => {
  const fault = ctx.path === '/token' ? take(TOKEN_FAULTS, 'token_times') : {};
  ctx.state.fault = fault;
  if (fault.token_delay_ms) await sleep(fault.token_delay_ms);
  if (fault.token_hang) {
    ctx.respond = false;
  } else if (fault.token_status) {
    if (fault.retry_after !== undefined) ctx.set('Retry-After', String(fault.retry_after));
    ctx.status = fault.token_status;
    ctx.body = { error: 'temporarily_unavailable' };
  } else if (faults.registration_off && ctx.path === '/reg') {
    ctx.status = 403;
    ctx.body = { error: 'access_denied' };
  } else {
    await next();
    if (ctx.path === '/token') issued.push(...[ctx.body?.access_token, ctx.body?.refresh_token].filter(Boolean));
    if (fault.drop_refresh_token) delete ctx.body?.refresh_token;
    if (fault.token_lost) ctx.req.socket.destroy();
  }
});

provider.use(async (ctx, next) => {
  await next();
  const location = new URL(ctx.response.get('location'), issuer);
  if (faults.issuer_lie !== undefined && location.searchParams.has('iss')) {
    if (faults.issuer_lie) location.searchParams.set('iss', faults.issuer_lie);
    else location.searchParams.delete('iss');
    ctx.redirect(location.href);
  }
  if (ctx.path.startsWith('/.well-known/') && ctx.status === 200) {
    if (faults.registration_off) delete ctx.body.registration_endpoint;
    if (!faults.client_documents) delete ctx.body.client_id_metadata_document_supported;
    for (const name of faults.metadata_strip ?? []) delete ctx.body[name];
    Object.assign(ctx.body, faults.metadata_set);
  }
});

// In place of a login form and a consent form: 'tester' logs in and grants all that was asked for.
provider.use(async (ctx, next) => {
  if (!ctx.path.startsWith('/interaction/')) return next();
  const { params } = await provider.interactionDetails(ctx.req, ctx.res);
  const grant = new provider.Grant({ accountId: 'tester', clientId: params.client_id });
  grant.addOIDCScope(params.scope ?? '');
  for (const resource of [params.resource ?? []].flat()) grant.addResourceScope(resource, params.scope ?? '');
  const result = { login: { accountId: 'tester' }, consent: { grantId: await grant.save() } };
  ctx.redirect(await provider.interactionResult(ctx.req, ctx.res, result));
});

asServer.on('request', provider.callback());

// --- The MCP server, of the protocol versions that have sessions ---

const sessions = new Set();
const TOOLS = {
  whoami: (args, { sub, client_id, scope }) => JSON.stringify({ sub, client_id, scope }),
  echo: (args) => JSON.stringify(args),
  admin: () => 'done',
  slow: ({ ms }) => sleep(ms, 'done'),
};

function challenge(scope, error) {
  const params = { resource_metadata: `${mcpOrigin}/.well-known/oauth-protected-resource/mcp` };
  if (!faults.no_scope_challenge) params.scope = scope;
  if (error) params.error = error;
  const pairs = Object.entries(params).map(([name, value]) => `${name}="${value}"`);
  return { 'WWW-Authenticate': `Bearer ${pairs.join(', ')}` };
}

async function serveMcp(req, res) {
  const entry = record(log.mcp, req, res);
  entry.authorization = 'authorization' in req.headers;
  const send = (status, body, headers) => {
    res.writeHead(status, { 'Content-Type': 'application/json', ...headers });
    res.end(body && JSON.stringify(body));
  };
  const body = await text(req);
  const { id, method, params = {} } = body ? JSON.parse(body) : {};
  entry.rpc = method;
  if (entry.path === '/.well-known/oauth-protected-resource/mcp') {
    return send(200, { resource: mcp, authorization_servers: [issuer], scopes_supported: ['mcp'] });
  }
  if (entry.path !== '/mcp') return send(404);
  const { mcp_status: status } = take(MCP_FAULTS, 'mcp_times');
  if (status) return send(status);

  const [, token] = /^Bearer (.+)$/i.exec(req.headers.authorization) ?? [];
  // The key is the one in the provider's JWKS; fetching that would put requests in the log that no client made.
  const required = { issuer, audience: mcp, typ: 'at+jwt' };
  const verified = token && await jwtVerify(token, publicKey, required).catch(() => undefined);
  if (!verified) return send(401, undefined, challenge('mcp', token && 'invalid_token'));
  const claims = verified.payload;

  const answer = (result, headers) => send(200, { jsonrpc: '2.0', id, result }, headers);
  const refuse = (code, message) => send(200, { jsonrpc: '2.0', id, error: { code, message } });
  if (method === 'server/discover') return refuse(-32601, 'Method not found');
  if (method === 'initialize') {
    const session = randomUUID();
    sessions.add(session);
    const about = { capabilities: { tools: {} }, serverInfo: { name: 'guarded', version: '1' } };
    return answer({ protocolVersion: params.protocolVersion, ...about }, { 'Mcp-Session-Id': session });
  }
  if (!sessions.has(req.headers['mcp-session-id'])) return send(404);
  if (req.method === 'DELETE') {
    sessions.delete(req.headers['mcp-session-id']);
    return send(204);
  }
  if (req.method !== 'POST') return send(405, undefined, { Allow: 'POST, DELETE' });
  if (id === undefined) return send(202);
  if (method === 'ping') return answer({});
  const tools = Object.keys(TOOLS).map((name) => ({ name, inputSchema: { type: 'object' } }));
  if (method === 'tools/list') return answer({ tools });
  if (method !== 'tools/call') return refuse(-32601, 'Method not found');
  const { name, arguments: args = {} } = params;
  if (!Object.hasOwn(TOOLS, name)) return refuse(-32602, 'Unknown tool');
  if (name === 'admin' && !claims.scope?.split(' ').includes('admin')) {
    return send(403, undefined, challenge('admin', 'insufficient_scope'));
  }
  return answer({ content: [{ type: 'text', text: await TOOLS[name](args, claims) }] });
}

mcpServer.on('request', guard(serveMcp));

// --- The control endpoint ---

function stats() {
  const token = Object.fromEntries(Object.values(GRANTS).flatMap((kind) => [[`${kind}_ok`, 0], [`${kind}_failed`, 0]]));
  for (const { grant_type: grant, status } of log.as) {
    if (status && Object.hasOwn(GRANTS, grant)) token[`${GRANTS[grant]}_${status === 200 ? 'ok' : 'failed'}`] += 1;
  }
  const good = ({ consumed, exp, grantId }) => !consumed && exp > Date.now() / 1000 && stores.Grant.has(grantId);
  return { token, refresh_tokens: [...stores.RefreshToken?.values() ?? []].filter(good).length };
}

function setFaults({ reset, revoke_all: revokeAll, forget_clients: forgetClients, ...changes }) {
  const unknown = Object.keys(changes).filter((name) => !FAULTS.includes(name));
  if (unknown.length) throw new Error(`unknown faults: ${unknown}`);
  if (reset) faults = { ...DEFAULTS };
  for (const [name, value] of Object.entries(changes)) faults[name] = value ?? DEFAULTS[name];
  for (const [model, rows] of Object.entries(stores)) {
    if (['Client', 'RegistrationAccessToken'].includes(model) ? forgetClients : revokeAll) rows.clear();
  }
}

const CONTROLS = {
  'GET /log': () => log,
  'DELETE /log': () => Object.values(log).forEach((list) => list.splice(0)),
  'GET /issued': () => issued,
  'GET /stats': stats,
  'POST /faults': async (req) => setFaults(JSON.parse(await text(req))),
};

controlServer.on('request', guard(async (req, res) => {
  const answer = await CONTROLS[`${req.method} ${req.url}`](req);
  res.writeHead(200, { 'Content-Type': 'application/json' }).end(JSON.stringify(answer ?? {}));
}));

process.stdin.resume().on('close', () => process.exit());
console.log(JSON.stringify({ issuer, mcp, control }));
