//! The tools of the tasks extension: a call that is answered with a task, which goes on for as long as it takes.

use std::sync::atomic::Ordering;
use std::time::Duration;

use rmcp::ErrorData;
use rmcp::model::{
    CallToolResponse, CallToolResult, ClientCapabilities, ContentBlock, CreateTaskResult, JsonObject, Tool,
};
use rmcp::task_manager::{TaskContext, TaskExit, TaskOptions};
use serde_json::{Value, json};

use crate::modern;
use crate::questions::{Halt, Round, field, filled};
use crate::tools::{text, tool};

const POLL_MS: u64 = 200;
/// What a job takes that is to fail.
const JOB: Duration = Duration::from_secs(1);

type Worked = Result<CallToolResult, TaskExit>;

pub(crate) fn tools() -> Vec<Tool> {
    let plain = json!({ "type": "object", "properties": {} });
    let slow = json!({ "seconds": { "type": "number" }, "label": { "type": "string" } });
    vec![
        tool("greet", "Greets, at once", one("name")),
        tool("slow_compute", "Takes some seconds", json!({ "type": "object", "properties": slow })),
        tool("failing_job", "Takes a second to fail", plain.clone()),
        tool("protocol_error_job", "Ends in an error of the protocol", plain.clone()),
        tool("confirm_delete", "Asks the user while its task goes on", one("filename")),
        tool("multi_input", "Asks the user two things while its task goes on", plain.clone()),
        tool("test_tool_with_task", "Asks the user before its task begins", plain),
    ]
}

fn one(name: &str) -> Value {
    json!({ "type": "object", "properties": { name: { "type": "string" } }, "required": [name] })
}

pub(crate) async fn call(round: &Round<'_>, arguments: &JsonObject) -> Result<CallToolResponse, Halt> {
    let argument = |name: &str| arguments.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    match round.subject {
        "greet" => text(format!("Hello, {}!", argument("name"))),
        "slow_compute" => {
            let seconds = arguments.get("seconds").and_then(Value::as_f64).unwrap_or(1.0).clamp(0.0, 600.0);
            let time = Duration::from_secs_f64(seconds);
            if time.is_zero() || !takes_tasks(round) {
                tokio::time::sleep(time).await;
                return text(computed(&argument("label")));
            }
            let label = argument("label");
            begin(round, async move |task| compute(task, time, &label).await)
        }
        "failing_job" => begin(round, async |_| {
            tokio::time::sleep(JOB).await;
            Ok(CallToolResult::error(vec![ContentBlock::text("The job failed")]))
        }),
        "protocol_error_job" => begin(round, async |_| Err(ErrorData::internal_error("the job broke", None).into())),
        "confirm_delete" => {
            round.permit(&field("", "confirm", "boolean"))?;
            let file = argument("filename");
            begin(round, async move |task| confirm(task, &file).await)
        }
        "multi_input" => {
            round.permit(&field("", "name", "string"))?;
            begin(round, two)
        }
        "test_tool_with_task" => {
            let question = field("What is your name?", "name", "string");
            let answers = round.ask(&[("user_name", question)], Some("before the task")).await?;
            let words = format!("Hello, {}!", filled(&answers, "user_name", "name"));
            begin(round, async |_| done(words))
        }
        name => Err(ErrorData::invalid_params(format!("there is no tool {name:?}"), None).into()),
    }
}

fn takes_tasks(round: &Round<'_>) -> bool {
    modern(round.context) && round.context.client_capabilities().is_some_and(|has| has.supports_tasks())
}

/// Answers with a task, if the client takes one.
fn begin<F>(round: &Round<'_>, work: impl FnOnce(TaskContext) -> F) -> Result<CallToolResponse, Halt>
where
    F: Future<Output = Worked> + Send + 'static,
{
    if !takes_tasks(round) {
        let needed = ClientCapabilities::builder().enable_tasks().build();
        return Err(ErrorData::missing_required_client_capability(needed).into());
    }
    let options = TaskOptions::new().with_poll_interval_ms(POLL_MS);
    let shared = round.server.shared.clone();
    let task = round.server.shared.tasks.spawn(options, |task| {
        let work = work(task);
        Box::pin(async move {
            let ended = work.await;
            if matches!(ended, Err(TaskExit::Cancelled)) {
                shared.cancelled.fetch_add(1, Ordering::Relaxed);
            }
            ended
        })
    });
    Ok(CreateTaskResult::new(task).into())
}

fn done(words: impl Into<String>) -> Worked {
    Ok(CallToolResult::success(vec![ContentBlock::text(words)]))
}

fn computed(label: &str) -> String {
    format!("Computed {label:?}")
}

async fn compute(task: TaskContext, time: Duration, label: &str) -> Worked {
    tokio::select! {
        () = tokio::time::sleep(time) => done(computed(label)),
        () = task.cancelled() => Err(TaskExit::Cancelled),
    }
}

async fn confirm(task: TaskContext, file: &str) -> Worked {
    let question = field(&format!("Delete {file}?"), "confirm", "boolean");
    let answer = task.request_input("confirm", question).await?;
    done(if answer["content"]["confirm"] == true { format!("Deleted {file}") } else { format!("Kept {file}") })
}

async fn two(task: TaskContext) -> Worked {
    let (name, sure) = tokio::try_join!(
        task.request_input("name", field("What is your name?", "name", "string")),
        task.request_input("sure", field("Are you sure?", "confirm", "boolean")),
    )?;
    done(format!("{} and {}", name["content"]["name"], sure["content"]["confirm"]))
}
