//! The tools, each named after the scenario of the suite that calls it, and what they do.

use std::sync::atomic::Ordering;
use std::time::Duration;

use rmcp::model::{
    CallToolRequestParams, CallToolResponse, CallToolResult, ContentBlock, InputResponses, JsonObject, LoggingLevel,
    LoggingMessageNotificationParam, ProgressNotificationParam, ResourceContents, Tool, object,
};
use rmcp::service::RequestContext;
use rmcp::{ErrorData, RoleServer};
use serde_json::{Value, json};

use crate::questions::{Halt, Round, field, filled, form, page, roots, sample};
use crate::resources::PIXEL;
use crate::{Lists, Server, streams, tasks};

/// A sample of silence.
const SILENCE: &str = "UklGRiYAAABXQVZFZm10IBAAAAABAAEAQB8AAIA+AAACABAAZGF0YQIAAAAAAA==";
/// Between two steps of a call that takes several.
const STEP: Duration = Duration::from_millis(50);

type Called = Result<CallToolResponse, Halt>;

pub(crate) fn all(lists: Lists) -> Vec<Tool> {
    let mut tools = vec![
        plain("test_simple_text", "Returns a text"),
        plain("test_image_content", "Returns an image"),
        plain("test_audio_content", "Returns a sound"),
        plain("test_embedded_resource", "Returns a resource"),
        plain("test_multiple_content_types", "Returns a text, an image and a resource"),
        plain("test_error_handling", "Fails"),
        plain("test_tool_with_logging", "Logs its steps"),
        plain("test_logging_tool", "Logs its steps"),
        plain("test_tool_with_progress", "Reports its progress"),
        plain("test_reconnection", "Ends its stream before it answers"),
        plain("test_missing_capability", "Needs a client with a model"),
        plain("test_trigger_tool_change", "Adds a tool to the list, or removes it"),
        plain("test_trigger_prompt_change", "Adds a prompt to the list, or removes it"),
        plain("change_watched_resource", "Changes test://watched-resource"),
        plain("wait", "Waits until it is cancelled"),
        plain("cancelled", "Tells how often waiting, or a task, was cancelled"),
        plain("open_page", "Sends the user to a page"),
        tool("test_sampling", "Asks the client's model", text_field("prompt")),
        tool("test_elicitation", "Asks the user for a name and an address", text_field("message")),
        plain("test_elicitation_sep1034_defaults", "Asks the user with a default for everything"),
        plain("test_elicitation_sep1330_enums", "Asks the user to choose, in all ways there are"),
        plain("test_streaming_elicitation", "Asks the user"),
        plain("test_input_required_result_elicitation", "Asks the user's name"),
        plain("test_input_required_result_sampling", "Asks the client's model"),
        plain("test_input_required_result_list_roots", "Asks for the client's roots"),
        plain("test_input_required_result_request_state", "Asks the user with a state"),
        plain("test_input_required_result_tampered_state", "Asks the user with a state"),
        plain("test_input_required_result_multiple_inputs", "Asks the user, the model and for the roots at once"),
        plain("test_input_required_result_multi_round", "Asks the user twice"),
        plain("test_input_required_result_capabilities", "Asks what the client can be asked"),
        tool("test_x_mcp_header", "Takes an argument that HTTP repeats in a header", header_schema()),
        tool("json_schema_2020_12_tool", "Tool with JSON Schema 2020-12 features", schema_2020_12()),
    ];
    tools.extend(tasks::tools());
    if lists.tool {
        tools.push(plain("changed_tool", "Is there, or is not"));
    }
    tools
}

fn plain(name: &'static str, description: &'static str) -> Tool {
    tool(name, description, json!({ "type": "object", "properties": {} }))
}

pub(crate) fn tool(name: &'static str, description: &'static str, schema: Value) -> Tool {
    Tool::new(name, description, object(schema))
}

fn text_field(name: &str) -> Value {
    json!({ "type": "object", "properties": { name: { "type": "string" } }, "required": [name] })
}

fn header_schema() -> Value {
    let region = json!({ "type": "string", "x-mcp-header": "Region" });
    json!({ "type": "object", "properties": { "region": region }, "required": ["region"] })
}

fn schema_2020_12() -> Value {
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "$defs": { "address": {
            "$anchor": "addressDef",
            "type": "object",
            "properties": { "street": { "type": "string" }, "city": { "type": "string" } },
        } },
        "properties": {
            "name": { "type": "string" },
            "address": { "$ref": "#/$defs/address" },
            "contactMethod": { "type": "string", "enum": ["phone", "email"] },
            "phone": { "type": "string" },
            "email": { "type": "string" },
        },
        "allOf": [{ "anyOf": [{ "required": ["phone"] }, { "required": ["email"] }] }],
        "if": { "properties": { "contactMethod": { "const": "phone" } }, "required": ["contactMethod"] },
        "then": { "required": ["phone"] },
        "else": { "required": ["email"] },
        "additionalProperties": false,
    })
}

pub(crate) async fn call(
    server: &Server,
    request: CallToolRequestParams,
    context: &RequestContext<RoleServer>,
) -> Result<CallToolResponse, ErrorData> {
    let arguments = request.arguments.unwrap_or_default();
    let answers = request.input_responses.unwrap_or_default();
    let round = Round { server, context, subject: &request.name, answers, state: request.request_state };
    dispatch(&round, &arguments).await.or_else(Halt::into_result)
}

async fn dispatch(round: &Round<'_>, arguments: &JsonObject) -> Called {
    let text_argument = |name: &str| arguments.get(name).and_then(Value::as_str).unwrap_or_default();
    match round.subject {
        "test_simple_text" => text("This is a simple text response for testing."),
        "test_image_content" => content(vec![ContentBlock::image(PIXEL, "image/png")]),
        "test_audio_content" => content(vec![ContentBlock::audio(SILENCE, "audio/wav")]),
        "test_embedded_resource" => {
            content(vec![embedded("test://embedded-resource", "text/plain", "This is an embedded resource content.")])
        }
        "test_multiple_content_types" => content(vec![
            ContentBlock::text("Multiple content types test:"),
            ContentBlock::image(PIXEL, "image/png"),
            embedded("test://mixed-content-resource", "application/json", r#"{"test":"data","value":123}"#),
        ]),
        "test_error_handling" => {
            let words = "This tool intentionally returns an error for testing";
            Ok(CallToolResult::error(vec![ContentBlock::text(words)]).into())
        }
        "test_tool_with_logging" | "test_logging_tool" => log(round).await,
        "test_tool_with_progress" => progress(round).await,
        "test_reconnection" => {
            let resumed = streams::disconnect(&round.server.shared, round.context).await;
            text(if resumed { "The stream ended and was resumed" } else { "No stream was resumed" })
        }
        "test_missing_capability" => {
            round.permit(&sample("", 1))?;
            text("The client has a model")
        }
        "test_trigger_tool_change" => {
            round.server.shared.lists.send_modify(|lists| lists.tool = !lists.tool);
            text("The list of tools changed")
        }
        "test_trigger_prompt_change" => {
            round.server.shared.lists.send_modify(|lists| lists.prompt = !lists.prompt);
            text("The list of prompts changed")
        }
        "change_watched_resource" => {
            round.server.shared.lists.send_modify(|lists| lists.watched += 1);
            text("The resource changed")
        }
        "wait" => {
            round.context.ct.cancelled().await;
            round.server.shared.cancelled.fetch_add(1, Ordering::Relaxed);
            text("Nobody waits for this any more")
        }
        "cancelled" => text(round.server.shared.cancelled.load(Ordering::Relaxed).to_string()),
        "test_x_mcp_header" => text(format!("The region is {}", text_argument("region"))),
        "json_schema_2020_12_tool" => text(Value::Object(arguments.clone()).to_string()),
        "changed_tool" if round.server.lists().tool => text("The tool is there"),
        _ => questions(round, arguments).await,
    }
}

async fn questions(round: &Round<'_>, arguments: &JsonObject) -> Called {
    let text_argument = |name: &str| arguments.get(name).and_then(Value::as_str).unwrap_or_default();
    match round.subject {
        "open_page" => {
            let answers = round.ask(&[("page", page("Open the page", "https://example.com/page"))], None).await?;
            text(format!("The page: {}", answers["page"]["action"].as_str().unwrap_or_default()))
        }
        "test_sampling" => {
            let answers = round.ask(&[("answer", sample(text_argument("prompt"), 100))], None).await?;
            text(format!("LLM response: {}", said(&answers, "answer")))
        }
        "test_elicitation" => {
            let answers = round.ask(&[("answer", form(text_argument("message"), person()))], None).await?;
            text(format!("User response: {}", outcome(&answers)))
        }
        "test_elicitation_sep1034_defaults" => {
            let answers = round.ask(&[("answer", form("Is this right?", defaults()))], None).await?;
            text(format!("Elicitation completed: {}", outcome(&answers)))
        }
        "test_elicitation_sep1330_enums" => {
            let answers = round.ask(&[("answer", form("Which ones?", choices()))], None).await?;
            text(format!("Elicitation completed: {}", outcome(&answers)))
        }
        "test_streaming_elicitation" => {
            let answers = round.ask(&[("answer", field("What is your name?", "name", "string"))], None).await?;
            text(format!("Hello, {}!", filled(&answers, "answer", "name")))
        }
        _ => input_required(round, arguments).await,
    }
}

async fn input_required(round: &Round<'_>, arguments: &JsonObject) -> Called {
    let name = || field("What is your name?", "name", "string");
    match round.subject.strip_prefix("test_input_required_result_").unwrap_or_default() {
        "elicitation" => {
            let answers = round.ask(&[("user_name", name())], None).await?;
            text(format!("Hello, {}!", filled(&answers, "user_name", "name")))
        }
        "sampling" => {
            let question = sample("What is the capital of France?", 100);
            let answers = round.ask(&[("capital_question", question)], None).await?;
            text(said(&answers, "capital_question"))
        }
        "list_roots" => {
            let answers = round.ask(&[("client_roots", roots())], None).await?;
            text(format!("The roots are {}", answers["client_roots"]["roots"]))
        }
        "request_state" | "tampered_state" => {
            round.ask(&[("confirm", field("Please confirm", "ok", "boolean"))], Some("confirming")).await?;
            text("state-ok")
        }
        "multiple_inputs" => {
            let greeting = sample("Generate a greeting", 50);
            let questions = [("user_name", name()), ("greeting", greeting), ("client_roots", roots())];
            let answers = round.ask(&questions, Some("all at once")).await?;
            let name = filled(&answers, "user_name", "name");
            text(format!("{} {name}, of {}", said(&answers, "greeting"), answers["client_roots"]["roots"]))
        }
        "multi_round" => multi_round(round).await,
        "capabilities" => {
            let mut questions = vec![("user_name", name()), ("greeting", sample("Generate a greeting", 50))];
            questions.retain(|(_, question)| round.permit(question).is_ok());
            let answers = round.ask(&questions, None).await?;
            text(format!("Answered: {}", json!(answers)))
        }
        _ => tasks::call(round, arguments).await,
    }
}

/// Two questions, one after the other: the answer to the first is in the state of the second.
async fn multi_round(round: &Round<'_>) -> Called {
    let known = round.state()?.and_then(|state| Some(state.strip_prefix("name=")?.to_owned()));
    let name = match known {
        Some(name) => name,
        None => {
            let question = field("Step 1: What is your name?", "name", "string");
            filled(&round.ask(&[("step1", question)], Some("asked for the name")).await?, "step1", "name")
        }
    };
    let question = field("Step 2: What is your favorite color?", "color", "string");
    let answers = round.ask(&[("step2", question)], Some(&format!("name={name}"))).await?;
    text(format!("{name} likes {}", filled(&answers, "step2", "color")))
}

pub(crate) fn text(words: impl Into<String>) -> Called {
    content(vec![ContentBlock::text(words)])
}

fn content(blocks: Vec<ContentBlock>) -> Called {
    Ok(CallToolResult::success(blocks).into())
}

fn embedded(uri: &str, kind: &str, text: &str) -> ContentBlock {
    ContentBlock::resource(ResourceContents::text(text, uri).with_mime_type(kind))
}

async fn log(round: &Round<'_>) -> Called {
    for words in ["Tool execution started", "Tool processing data", "Tool execution completed"] {
        if round.server.hears(round.context, LoggingLevel::Info) {
            let message = LoggingMessageNotificationParam::new(LoggingLevel::Info, json!(words));
            // Where the client is gone, nobody is left to be told that it was not told.
            drop(round.context.peer.notify_logging_message(message).await);
        }
        tokio::time::sleep(STEP).await;
    }
    text("The steps were logged")
}

async fn progress(round: &Round<'_>) -> Called {
    let token = round.context.meta.get_progress_token();
    for percent in [0.0, 50.0, 100.0] {
        if let Some(token) = &token {
            let message = ProgressNotificationParam::new(token.clone(), percent).with_total(100.0);
            drop(round.context.peer.notify_progress(message).await);
        }
        tokio::time::sleep(STEP).await;
    }
    text("The progress was reported")
}

fn person() -> Value {
    json!({
        "type": "object",
        "properties": {
            "username": { "type": "string", "description": "User's response" },
            "email": { "type": "string", "description": "User's email address" },
        },
        "required": ["username", "email"],
    })
}

fn defaults() -> Value {
    json!({
        "type": "object",
        "properties": {
            "name": { "type": "string", "default": "John Doe" },
            "age": { "type": "integer", "default": 30 },
            "score": { "type": "number", "default": 95.5 },
            "status": { "type": "string", "enum": ["active", "inactive", "pending"], "default": "active" },
            "verified": { "type": "boolean", "default": true },
        },
    })
}

fn choices() -> Value {
    let plain = json!(["option1", "option2", "option3"]);
    let titled = json!([
        { "const": "value1", "title": "First" },
        { "const": "value2", "title": "Second" },
        { "const": "value3", "title": "Third" },
    ]);
    let names = json!(["Option One", "Option Two", "Option Three"]);
    json!({
        "type": "object",
        "properties": {
            "untitledSingle": { "type": "string", "enum": plain },
            "titledSingle": { "type": "string", "oneOf": titled },
            "legacyEnum": { "type": "string", "enum": ["opt1", "opt2", "opt3"], "enumNames": names },
            "untitledMulti": { "type": "array", "items": { "type": "string", "enum": plain } },
            "titledMulti": { "type": "array", "items": { "anyOf": titled } },
        },
    })
}

/// What the model said.
fn said(answers: &InputResponses, key: &str) -> String {
    let content = &answers[key]["content"];
    content["text"].as_str().map_or_else(|| content.to_string(), str::to_owned)
}

/// What the user decided and filled in.
fn outcome(answers: &InputResponses) -> String {
    let answer = &answers["answer"];
    format!("action={}, content={}", answer["action"].as_str().unwrap_or_default(), answer["content"])
}
