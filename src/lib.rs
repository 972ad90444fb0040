//! trunkline: one daemon per user that owns every MCP connection, shared by any number of agents.
//!
//! ```text
//!  agent ── stdio ── trunkline connect ─┐
//!  agent ── stdio ── trunkline connect ─┤   one Unix socket / named pipe          ┌─ stdio child
//!  script ── JSON-RPC (daemon.*) ───────┼── newline-delimited JSON-RPC ── trunkline ┼─ stdio child
//!  agent ── HTTP (loopback, token) ─────┘                                    run    └─ HTTP ── remote server
//!       downstream: sessions                     hub                upstream: instances, with tokens of oauth's keepers
//! ```
//!
//! # Words
//!
//! | word | meaning |
//! |---|---|
//! | server | one configured MCP server (`hub::server`), also while none of its processes runs |
//! | connection | one live wire to a server: a child process, or over HTTP (`upstream::Connection`) |
//! | instance | a connection as the hub sees it (`hub::instance`): what is in flight on it, whose that is, who uses it |
//! | slot | a place in a server's pool for one instance after another: whom it serves, and in which state of its life it is |
//! | session | one attached agent |
//! | site | an instance where it stands: with its server and the hub. What a server says is dealt with there |
//! | hub | routes between sessions and instances; owns no I/O |
//! | catalog | what a server offers: its handshake and its lists, as raw JSON, also while it does not run |
//! | audience | for whom a catalog is: instance terms, and a project where that matters |
//! | sharing | how far a process of a server is shared, by order or by what is known of it and what it has shown |
//! | share key | what an agent needs of an instance: terms, project, roots, owner |
//! | place | where an agent works: its folder, and its roots |
//! | signpost | where the user's daemon says where it listens, for programs that know little of the environment |
//! | principal | whose things are: a session, or where each request is a session by itself, whoever says that it is the same client |
//! | one at a time | the rule for servers whose questions name no call: an instance is busy while it has a call |
//! | turn | where a slow server does one call after the other, an agent's next call is given to it when one of its others is over |
//! | pace | what an instance has shown of how it answers: slowly or not, in order or not |
//! | wire | moves whole JSON-RPC messages as raw text, NDJSON over bytes or HTTP |
//! | quirk | what a server does against the specification, and that is put up with: told once |
//! | misconfigured | of a server whose entry is wrong: it is there, and cannot be used |
//! | budget | what bounds all that waits: accounts of agents, servers and what servers offer hold bytes of it |
//! | stranger | a connection that has shown nothing yet |
//! | lookalike | a member that some readers take for one of another name: its message is refused |
//! | keeper | the one owner of a login: its tokens, their refresh, how it is begun and ended |
//! | vault | who alone reads and writes the records: logins and secrets, encrypted |
//! | tap | sits between a wire and the connection's `rmcp` client and takes the agents' traffic past it |
//! | era | *legacy*: protocol revisions with `initialize` (2024-11-05 … 2025-11-25). *modern*: 2026-07-28, stateless |
//! | client profile | what a legacy agent declared: protocol version and capabilities |
//! | instance terms | what a server was promised: legacy with a client profile, or modern |
//! | agent terms | how an agent speaks, with the profile of what it declared |
//! | translation | what is kept of a request from an agent of one era to a server of the other |
//! | disposition | what becomes of a request whose server speaks the other era: one table (`hub::eras`) |
//! | suspended call | a call of a modern agent whose legacy server asks something: it waits until the agent resumes it |
//! | input round | what a modern server asks instead of answering, put to a legacy agent; then the call is retried |
//! | open request | what an agent is asked, and has not answered |
//! | page | what a person is asked to open (elicitation by URL): that it is done is told to whom was asked |
//! | task polling | a call that a server of the other era made a task of: trunkline polls the task in the agent's place |
//! | agent file | where an agent keeps its MCP servers: one row of `config/agents.toml` for each agent (`setup::agent`) |
//! | attachment | what `attach` wrote into an agent's file, and the text that it had before: the way back |
//! | preset | what is proposed for an entry of a known package, with the reason: never done without a word |
//! | literal | a secret that stands in an entry as it is |
//! | session snapshot | a legacy session over HTTP, as the next daemon needs it to restore it |
//! | record | what is kept of each call: names and figures in blocks of bytes (`record`) |
//! | recording | messages as the wire had them, for one who asked (`recording`) |
//! | tee | gives copies of messages to those who record |
//! | mask | a secret that was given to a server, kept out of records and recordings |
//! | lifetime | a session lasts, or is one request: each of the modern era over HTTP is an agent by itself |
//!
//! # Floors
//!
//! A module imports from strictly lower floors only, and siblings do not meet. The floors of the hub have numbers of their own
//! behind the point. No two files import each other in a circle. `tests/it/tidy.rs` reads this table, and holds the code to it.
//!
//! 7  cli         the commands; the stdio shim (`connect`); the demo
//! 6  daemon      composes everything, owns every task, ends in order
//! 5  downstream  the agents' side: the socket, where a connection's first message says what it is, and HTTP
//! 5  control     `daemon.*` (jsonrpsee): shapes, server, client
//! 4.9 hub::route     from an agent to its servers: one, or all together
//! 4.9 hub::deliver   from a server to the agents that it is for
//! 4.9 hub::reload    another configuration, taken over
//! 4.9 hub::upkeep    what happens by the clock
//! 4.9 hub::discover_servers  servers that nobody has listed are asked what they offer
//! 4.8 hub::task_polling     calls that a server of the other era makes tasks of
//! 4.8 hub::input     what servers ask across the eras: calls suspended and resumed, input rounds
//! 4.8 hub::logins    a person is asked to log in, and what waited goes on
//! 4.8 hub::agent_subscriptions  `subscriptions/listen` that trunkline itself keeps
//! 4.8 hub::roots     which folders an agent works in, and who is told
//! 4.8 hub::restore  what the next daemon must know of a session
//! 4.7 hub            composes: servers, agents, the instances by their ids
//! 4.6 hub::input::input_round     the input rounds that are open
//! 4.6 hub::input::suspended_call  the calls that are suspended
//! 4.6 hub::servers   the configured servers, in their order and by name
//! 4.5 hub::server    one configured server: its pool of instances, lifecycle, lists, login
//! 4.4 hub::shared_state  what all servers share
//! 4.3 hub::instance  one connection: what is in flight on it, whose it is, who uses it
//! 4.3 hub::routed    what became of an agent's frame
//! 4.2 hub::session   one agent: what it declared, where it works, what it was asked, its queue
//! 4.1 hub::eras      what one era's messages are in the other (pure)
//! 4.1 hub::sharing   who may share a process (pure)
//! 4.1 hub::events    what watchers see
//! 4.1 hub::agent     who an agent is, and what it looks at
//! 4.0 hub::failure   why a request cannot be served, as an agent is told
//! 4.0 hub::ids       by which sessions and instances know each other
//! 4.0 hub::log_level     the severity of a log message
//! 4.0 hub::client_timeouts  how long an agent waits when it attaches
//! 4.0 hub::stopped_by_hand   the servers that a person has stopped
//! 3  upstream    the servers' side: child process or HTTP, handshake, tap under `rmcp`, catalogs, the life of an instance (pure)
//! 2  oauth       logins: the keeper of each, how one is begun and refreshed
//! 2  setup       from what a person's agents have to a shared set-up, and back
//! 1  config      file -> Config, or every problem with its line
//! 1  credentials logins and secrets at rest, and the key to them
//! 1  http1       one connection of HTTP/1.1
//! 1  ipc         the socket: listen, connect; who listens is checked before a client speaks (`unix`)
//! 1  record      the record of calls: written by the daemon, read by anybody
//! 1  recording   messages as the wire had them: copied, read back, answered from, compared
//! 1  wire        frames out of bytes, large messages read aside; bounded queues of what is to be written: one for a stream, or one for each request
//! 0  agent       who an agent is
//! 0  fault       a fault of trunkline itself ends what it happened in
//! 0  files       files and folders that are the user's alone
//! 0  heap        freed memory goes back to the system
//! 0  lines       the last lines of a log, and its followers
//! 0  paths       where things are
//! 0  program     where this program is, also after an upgrade
//! 0  processes   what the system tells of processes, and the mark of those that servers start
//! 0  environment which of a person's variables a server gets
//! 0  masks       the secrets that were given out, to keep them out of what is recorded
//! 0  random      text that nobody can guess
//! 0  retry       pauses between tries
//! 0.1 rotated    a log file of bounded size
//! 0  strangers   connections that have shown nothing yet
//! 0  descriptors how many files and connections may be open
//! 0  shown       text of others as a terminal and a log may show it
//! 0.2 traces      where a call stands in a trace; spans, exported by OTLP
//! 0  ticks       time kept outside of the runtime
//! 0  era         eras, and what an agent declared of itself: client profile, instance terms, agent terms
//! 0  names       server names, `server__name`, qualified URIs
//! 0.2 envelope   one parse of a message as borrowed slices; rewriting by splice; trunkline's own messages
//! 0.1 same_folder whether two processes mean the same folder by the same path
//! 0.3 mcp_headers what the modern era repeats of a message in HTTP headers
//! 0.2 lists      the kinds of lists that servers offer
//! 0.1 method     the methods of the protocol: one row for each, with all that must be known of it
//!
//! # Walks
//!
//! **tools/call.** `downstream::connection` reads a frame and parses its envelope -> `Hub::take` (`hub::route`) finds the instance that the session has
//! joined, by the server's name and then by its id -> `Instance::request` notes the pending call (our id -> session, its id, its token) and appends the
//! frame, spliced, to the connection's outbox, which makes one line of it for every reader (`wire::line`) -> the writer task writes what has gathered. The
//! connection's reader parses the reply -> the tap lets it past -> `Site::inbound` (`hub::deliver`) takes the pending call and appends the reply, ids restored,
//! to the session's outbox. Nothing on the way allocates a JSON value, spawns a task or waits for another agent.
//!
//! **A long message.** `Frames` reads it in turns with the others (`wire::Turn`) -> `Message::read` has it parsed, and made one line, beside the
//! runtime's thread -> it walks as above, and is not copied: `Outbox::push_edited` keeps its text (`Envelope::shared`) with the edits beside it. Whoever
//! must read a request again after a wait does so by `Message::again`.
//!
//! **First use.** The session has joined no instance yet -> `Hub::instance` (`hub::route::find_instance`) makes a share key (terms, project, roots, owner) as
//! `hub::sharing` has it -> `Server::instance` (`hub::server::pool`) finds the slot for it -> the pure `upstream::state` says what `Wanted` means there:
//! nothing, a start, a pause, a refusal -> a task of its own starts it and all who want it wait -> `Connection::start` spawns the child and lets `rmcp` shake
//! hands through the tap, in one era after the other on the same wire -> `hub::server::compare_offers` learns what it offers, and whether another process serves the
//! same -> the session attaches to the instance. A handshake or a list need not wait: `hub::route::cached_answers` answers from the catalog.
//!
//! **Attaching.** `cli::start` looks where the `ipc::Signpost` points, then at the default place; where nobody listens it has the
//! service manager start a daemon, or starts one through `detach` -> `daemon::person` begins it anew with the login shell's environment.
//!
//! **The way in.** `cli::import` opens the agents' files (`setup::AgentFile`) -> `config::ForeignFile` makes tables of our own form of their servers ->
//! `setup::Plan` merges and names them, with presets and literals -> `cli::take_over` shows, asks, and writes through `setup::Document`. `cli::attach` plans an
//! `Attachment`, shows its change, and writes the record before the file; `detach` goes back by it.
//!
//! **What cannot be read.** The reader finds no message in a line -> `upstream::salvage` finds those that are certain, and what is left of one that is lost ->
//! the tap sorts the first, notes a `Quirk`, and tells the site of the last (`Inbound::Unreadable`) -> `hub::deliver::unmatched_answers` fails the call that it was for. An
//! answer under a strange id goes there too, and waits until one request is left that it can be for.
//!
//! **What waits.** Whoever makes something wait has a `wire::Account` of the one `Budget`: a connection for what is read of it, a session for its
//! queue and its requests that wait, and another one for what it has sent and no server has taken (`Session::sending`), a link for what is asked and not
//! answered, what is read of a server by itself, a server for its catalogs. A queue knows who each message is of, has a lane for whoever has much waiting (`wire::outbox::lanes`), and gives back by itself; what else is kept holds a
//! `Held` for as long. Where all of it is `max_memory`, `Bound::make_room` finds the heaviest: it is refused, or its token is cancelled, and its owner (the connection, `Frames`, `Hub::keep_to_budget`) drops what it has.
//!
//! **Turns.** `Instance::begin_call` asks the pure `Turns` whether the call must wait -> if so, it is put into its agent's lane as one that waits
//! (`Sent::waits`) -> each call that is over frees a turn (`Instance::next_turns`), and a look every quarter of a second finds those that need not wait
//! any more -> `Outbox::let_go` lets the writer have it. Where one call at a time is the rule, each agent has one `Waiter` in front instead.
//!
//! **A death.** The connection's owner task sees the process end -> `Site::inbound(Closed)` (`hub::deliver::closing`) fails its calls, or repeats a list
//! -> the slot hears `Failed`, pauses and starts again if somebody is attached -> `Instance::take_over` moves the agents over.
//!
//! **A request over HTTP.** The outbox -> the owner task of `upstream::http` makes an exchange of each message -> `Endpoint::send` asks the
//! `Keeper` for the token, which it has at hand, and once more on a 401 -> JSON or events come back -> the tap, with the call on whose stream
//! they came.
//!
//! **An agent over HTTP.** `downstream::http::post` reads the message and attaches a session (modern), or finds the one that is named (legacy) -> a
//! stream is opened for the request's id -> `Hub::take`, as above -> what belongs to the request is told to its stream (`wire::To`) -> the answer
//! alone, or events.
//!
//! **Between the eras.** `hub::route::other_era` asks `hub::eras::disposition` what becomes of the request -> `Instance::translate` says what is changed in
//! it, and keeps a `Translation` beside the pending call -> `Site::translate_answer` writes the answer in the agent's era. A legacy server's question to a modern
//! agent: `hub::deliver::server_requests` -> `Site::ask_suspended` -> `Hub::suspend` keeps the call under a `requestState` -> `Hub::resume` gives it to the request
//! that comes back. A modern server's: `InputRound`, put and answered in `hub::input::ask_and_retry`.
//!
//! **A refresh.** `Keeper::token` sees that the token ends, and tells the task of the login -> one `Renewal` looks at the records, has the grant
//! ask the token endpoint (`oauth::grant::refresh_token`), saves through the `Vault` -> all who wait get the new token.
//!
//! **A login.** No token -> `Inbound::Parked`, or the start says `NeedsLogin` -> `hub::logins` asks the agent's person, or fails the call -> the keeper
//! prepares (`discovery`, and `client`, which registers one), waits for the redirect (`callback`), fetches the token -> `Keepers::logins` tells the hub, which starts what waited.
//!
//! **Reload.** `config::Watch`, SIGHUP or `daemon.reload` -> `daemon::reload` loads -> `config::diff` decides -> `Hub::reload` starts
//! what changed, swaps the list of servers in one step, drains the old, and tells each agent once.
//!
//! **What is recorded.** `Instance::request` begins a call (`hub::instance::recorded`), and keeps it beside the pending call -> whatever ends the call for its
//! agent takes it out and gives it to `Records::end`: an answer, a cancellation, a time-out, an end -> `record::Recorder` writes it into a ring, as bytes -> its
//! thread puts a block into SQLite. `record::Reader` reads them: the commands do so themselves, `control` does for scripts.
//!
//! **The daemon is gone.** `cli::connect` tells the agent what was in flight -> finds or starts a daemon -> says again what its
//! `Replay` kept of the session -> sends what the agent said meanwhile. Over HTTP the daemon itself keeps of a session what must go on
//! (`Hub::snapshot`, `downstream::http::records`), and the next one takes it up with its next request (`Hub::restore`).

pub mod agent;
pub mod cli;
pub mod config;
pub mod control;
pub mod credentials;
pub mod daemon;
pub mod descriptors;
pub mod downstream;
pub mod envelope;
pub mod environment;
pub mod era;
pub mod fault;
pub mod files;
pub mod heap;
pub mod http1;
pub mod hub;
pub mod ipc;
pub mod lines;
pub mod lists;
pub mod masks;
pub mod mcp_headers;
pub mod method;
pub mod names;
pub mod oauth;
pub mod paths;
pub mod processes;
pub mod program;
pub mod random;
pub mod record;
pub mod recording;
pub mod retry;
pub mod rotated;
pub mod same_folder;
pub mod setup;
pub mod shown;
pub mod strangers;
pub mod ticks;
pub mod traces;
pub mod upstream;
pub mod wire;
