//! The server that the MCP conformance suite is run against: rmcp's server side with everything that the suite's scenarios
//! call for, in both eras, so that what a proxy in between changes is the only difference.
//!
//! `conformance-server` speaks on standard input and output; `conformance-server --http` listens on a port of its own and
//! writes its URL as the first line. With `--only=legacy` or `--only=modern` it speaks one era.

#![allow(deprecated, reason = "the era before 2026-07-28 is served with what 2026-07-28 gave up")]
#![allow(clippy::expect_used, reason = "a program of the tests says what it cannot go on from")]

mod prompts;
mod questions;
mod resources;
mod skills;
mod streams;
mod tasks;
mod tools;

use std::borrow::Cow;
use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};

use parking_lot::Mutex;

use rmcp::model::{
    CallToolRequestParams, CallToolResponse, CancelTaskParams, CompleteRequestParams, CompleteResult,
    DiscoverRequestMethod, DiscoverResult, GetPromptRequestParams, GetPromptResponse, GetSkillRequestParams,
    GetSkillResult, GetTaskParams, GetTaskResult, Implementation, InitializeRequestParams, InitializeResult,
    InitializeResultMethod, ListPromptsResult, ListResourceTemplatesResult, ListResourcesResult, ListSkillsResult,
    ListToolsResult, LoggingLevel, PaginatedRequestParams, ProtocolVersion, ReadResourceDirectoryRequestParams,
    ReadResourceDirectoryResult, ReadResourceRequestParams, ReadResourceResponse, RequestStateCodec,
    ResourceUpdatedNotificationParam, ServerCapabilities, ServerConfig, SetLevelRequestMethod, SetLevelRequestParams,
    SubscribeRequestParams, SubscriptionFilter, Tool, UnsubscribeRequestParams, UpdateTaskParams,
};
use rmcp::service::{NotificationContext, Peer, RequestContext, SubscriptionContext, SubscriptionSink};
use rmcp::task_manager::TaskManager;
use rmcp::{ErrorData, RoleServer, ServerHandler, ServiceExt};
use tokio::sync::{broadcast, watch};

use crate::resources::WATCHED;

/// One client's server: a session's, or a single request's where there are no sessions.
struct Server {
    shared: Arc<Shared>,
    /// The least `LoggingLevel` that the session wants to hear of.
    level: AtomicU8,
    /// What the session subscribed to.
    uris: Arc<Mutex<HashSet<String>>>,
}

/// What all clients share.
struct Shared {
    lists: watch::Sender<Lists>,
    only: Option<Era>,
    /// How many waiting calls were cancelled.
    cancelled: AtomicUsize,
    tasks: TaskManager,
    seal: RequestStateCodec,
    /// Ids of the sessions whose clients came back for the rest of a stream.
    resumed: broadcast::Sender<String>,
}

/// Whether the lists hold the entry that comes and goes, and how often the watched resource changed.
#[derive(Clone, Copy, Default)]
struct Lists {
    tool: bool,
    prompt: bool,
    watched: u32,
}

/// The one era that the server speaks.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Era {
    Legacy,
    Modern,
}

/// Who hears of a list that changed.
enum Listener<'a> {
    Session(&'a Peer<RoleServer>, &'a Mutex<HashSet<String>>),
    Subscription(&'a SubscriptionSink),
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let mut key = vec![0; RequestStateCodec::MIN_KEY_LENGTH];
    fastrand::fill(&mut key);
    let shared = Arc::new(Shared {
        lists: watch::Sender::default(),
        only: std::env::args().find_map(|word| match word.as_str() {
            "--only=legacy" => Some(Era::Legacy),
            "--only=modern" => Some(Era::Modern),
            _ => None,
        }),
        cancelled: AtomicUsize::new(0),
        tasks: TaskManager::new(),
        seal: RequestStateCodec::try_new(key)?,
        resumed: broadcast::Sender::new(64),
    });
    if std::env::args().any(|word| word == "--http") {
        return streams::serve(shared).await;
    }
    Server::new(shared).serve(rmcp::transport::stdio()).await?.waiting().await?;
    Ok(())
}

/// Whether a request is of an era without sessions, handshakes and questions in requests of their own.
fn modern(context: &RequestContext<RoleServer>) -> bool {
    context.protocol_version().is_some_and(|version| version.as_str() >= ProtocolVersion::V_2026_07_28.as_str())
}

impl Server {
    fn new(shared: Arc<Shared>) -> Self {
        Self { shared, level: AtomicU8::new(LoggingLevel::Debug as u8), uris: Arc::default() }
    }

    fn lists(&self) -> Lists {
        *self.shared.lists.borrow()
    }

    /// Whether the client of a request wants what is logged at `level`.
    fn hears(&self, context: &RequestContext<RoleServer>, level: LoggingLevel) -> bool {
        let least = if modern(context) {
            context.meta.log_level().map(|least| least as u8)
        } else {
            Some(self.level.load(Ordering::Relaxed))
        };
        least.is_some_and(|least| level as u8 >= least)
    }
}

impl Listener<'_> {
    /// Tells of every change, until there is nobody left to tell.
    async fn follow(&self, mut lists: watch::Receiver<Lists>) {
        let mut known = *lists.borrow_and_update();
        while lists.changed().await.is_ok() {
            let now = *lists.borrow_and_update();
            if now.tool != known.tool && !self.tools_changed().await {
                return;
            }
            if now.prompt != known.prompt && !self.prompts_changed().await {
                return;
            }
            if now.watched != known.watched && !self.watched_changed().await {
                return;
            }
            known = now;
        }
    }

    async fn watched_changed(&self) -> bool {
        match self {
            Self::Session(peer, uris) => {
                let subscribed = uris.lock().contains(WATCHED);
                !subscribed
                    || peer.notify_resource_updated(ResourceUpdatedNotificationParam::new(WATCHED)).await.is_ok()
            }
            Self::Subscription(sink) => {
                let uris = sink.accepted().resource_subscriptions.clone().unwrap_or_default();
                !uris.iter().any(|uri| uri == WATCHED) || sink.notify_resource_updated(WATCHED).await.is_ok()
            }
        }
    }

    async fn tools_changed(&self) -> bool {
        match self {
            Self::Session(peer, _) => peer.notify_tool_list_changed().await.is_ok(),
            Self::Subscription(sink) if sink.accepted().tools_list_changed != Some(true) => true,
            Self::Subscription(sink) => sink.notify_tool_list_changed().await.is_ok(),
        }
    }

    async fn prompts_changed(&self) -> bool {
        match self {
            Self::Session(peer, _) => peer.notify_prompt_list_changed().await.is_ok(),
            Self::Subscription(sink) if sink.accepted().prompts_list_changed != Some(true) => true,
            Self::Subscription(sink) => sink.notify_prompt_list_changed().await.is_ok(),
        }
    }
}

impl ServerHandler for Server {
    fn get_info(&self) -> ServerConfig {
        let capabilities = ServerCapabilities::builder()
            .enable_logging()
            .enable_completions()
            .enable_prompts()
            .enable_prompts_list_changed()
            .enable_resources()
            .enable_resources_subscribe()
            .enable_tools()
            .enable_tool_list_changed()
            .enable_tasks()
            .enable_skills_with_directory_read()
            .build();
        ServerConfig::new(capabilities).with_server_info(Implementation::new("conformance-server", "1"))
    }

    fn supported_protocol_versions(&self) -> Cow<'static, [ProtocolVersion]> {
        let all = ProtocolVersion::KNOWN_VERSIONS;
        let modern = |version: &&ProtocolVersion| version.as_str() >= ProtocolVersion::V_2026_07_28.as_str();
        match self.shared.only {
            None => Cow::Borrowed(all),
            Some(Era::Legacy) => all.iter().filter(|version| !modern(version)).cloned().collect(),
            Some(Era::Modern) => all.iter().filter(modern).cloned().collect(),
        }
    }

    async fn discover(&self, _: RequestContext<RoleServer>) -> Result<DiscoverResult, ErrorData> {
        if self.shared.only == Some(Era::Legacy) {
            return Err(ErrorData::method_not_found::<DiscoverRequestMethod>());
        }
        Ok(DiscoverResult::from_server_info(self.supported_protocol_versions().into_owned(), self.get_info()))
    }

    async fn initialize(
        &self,
        request: InitializeRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<InitializeResult, ErrorData> {
        if self.shared.only == Some(Era::Modern) {
            return Err(ErrorData::method_not_found::<InitializeResultMethod>());
        }
        context.peer.set_peer_info(request.clone());
        self.negotiate_initialize(&request)
    }

    async fn on_initialized(&self, context: NotificationContext<RoleServer>) {
        let (lists, uris) = (self.shared.lists.subscribe(), self.uris.clone());
        tokio::spawn(async move { Listener::Session(&context.peer, &uris).follow(lists).await });
    }

    fn accepted_subscription_filter(&self, requested: &SubscriptionFilter) -> Option<SubscriptionFilter> {
        Some(requested.clone())
    }

    async fn listen(&self, context: SubscriptionContext) -> Result<(), ErrorData> {
        let listener = Listener::Subscription(context.sink());
        tokio::select! {
            () = listener.follow(self.shared.lists.subscribe()) => {}
            () = context.cancelled() => {}
        }
        Ok(())
    }

    async fn set_level(
        &self,
        request: SetLevelRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<(), ErrorData> {
        if modern(&context) {
            return Err(ErrorData::method_not_found::<SetLevelRequestMethod>());
        }
        self.level.store(request.level as u8, Ordering::Relaxed);
        Ok(())
    }

    async fn complete(
        &self,
        request: CompleteRequestParams,
        _: RequestContext<RoleServer>,
    ) -> Result<CompleteResult, ErrorData> {
        prompts::complete(&request)
    }

    fn get_tool(&self, name: &str) -> Option<Tool> {
        tools::all(self.lists()).into_iter().find(|tool| tool.name == name)
    }

    async fn list_tools(
        &self,
        _: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        Ok(ListToolsResult::with_all_items(tools::all(self.lists())))
    }

    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        tools::call(self, request, &context).await
    }

    async fn list_prompts(
        &self,
        _: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListPromptsResult, ErrorData> {
        Ok(ListPromptsResult::with_all_items(prompts::all(self.lists())))
    }

    async fn get_prompt(
        &self,
        request: GetPromptRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<GetPromptResponse, ErrorData> {
        prompts::get(self, request, &context).await
    }

    async fn list_resources(
        &self,
        _: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListResourcesResult, ErrorData> {
        Ok(ListResourcesResult::with_all_items(resources::all()))
    }

    async fn list_resource_templates(
        &self,
        _: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListResourceTemplatesResult, ErrorData> {
        Ok(ListResourceTemplatesResult::with_all_items(resources::templates()))
    }

    async fn read_resource(
        &self,
        request: ReadResourceRequestParams,
        _: RequestContext<RoleServer>,
    ) -> Result<ReadResourceResponse, ErrorData> {
        Ok(resources::read(&request.uri)?.into())
    }

    async fn subscribe(&self, request: SubscribeRequestParams, _: RequestContext<RoleServer>) -> Result<(), ErrorData> {
        resources::read(&request.uri)?;
        self.uris.lock().insert(request.uri);
        Ok(())
    }

    async fn unsubscribe(
        &self,
        request: UnsubscribeRequestParams,
        _: RequestContext<RoleServer>,
    ) -> Result<(), ErrorData> {
        self.uris.lock().remove(&request.uri);
        Ok(())
    }

    async fn get_task(
        &self,
        request: GetTaskParams,
        _: RequestContext<RoleServer>,
    ) -> Result<GetTaskResult, ErrorData> {
        self.shared.tasks.get_task(&request.task_id).map(GetTaskResult::new)
    }

    async fn update_task(&self, request: UpdateTaskParams, _: RequestContext<RoleServer>) -> Result<(), ErrorData> {
        self.shared.tasks.update_task(&request.task_id, request.input_responses)
    }

    async fn cancel_task(&self, request: CancelTaskParams, _: RequestContext<RoleServer>) -> Result<(), ErrorData> {
        self.shared.tasks.cancel_task(&request.task_id)
    }

    async fn list_skills(
        &self,
        _: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListSkillsResult, ErrorData> {
        Ok(ListSkillsResult::with_all_items(vec![skills::skill()]))
    }

    async fn get_skill(
        &self,
        request: GetSkillRequestParams,
        _: RequestContext<RoleServer>,
    ) -> Result<GetSkillResult, ErrorData> {
        skills::get(&request.uri)
    }

    async fn read_resource_directory(
        &self,
        request: ReadResourceDirectoryRequestParams,
        _: RequestContext<RoleServer>,
    ) -> Result<ReadResourceDirectoryResult, ErrorData> {
        skills::directory(&request.uri)
    }
}
