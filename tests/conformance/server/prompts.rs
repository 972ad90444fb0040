//! The prompts, and how their arguments are completed.

use rmcp::model::{
    CompleteRequestParams, CompleteResult, CompletionInfo, ContentBlock, GetPromptRequestParams, GetPromptResponse,
    GetPromptResult, Prompt, PromptArgument, PromptMessage, ResourceContents, Role,
};
use rmcp::service::RequestContext;
use rmcp::{ErrorData, RoleServer};
use serde_json::Value;

use crate::questions::{Halt, Round, field, filled};
use crate::resources::PIXEL;
use crate::{Lists, Server};

/// What an argument may be completed to.
const WORDS: [&str; 3] = ["paris", "parma", "test"];

pub(crate) fn all(lists: Lists) -> Vec<Prompt> {
    let argument = |name: &str| PromptArgument::new(name).with_description("An argument").with_required(true);
    let mut prompts = vec![
        Prompt::new("test_simple_prompt", Some("A text"), None),
        Prompt::new(
            "test_prompt_with_arguments",
            Some("A text with two"),
            Some(vec![argument("arg1"), argument("arg2")]),
        ),
        Prompt::new("test_prompt_with_embedded_resource", Some("A resource"), Some(vec![argument("resourceUri")])),
        Prompt::new("test_prompt_with_image", Some("An image"), None),
        Prompt::new("test_input_required_result_prompt", Some("Asks the user first"), None),
    ];
    if lists.prompt {
        prompts.push(Prompt::new("changed_prompt", Some("Is there, or is not"), None));
    }
    prompts
}

pub(crate) async fn get(
    server: &Server,
    request: GetPromptRequestParams,
    context: &RequestContext<RoleServer>,
) -> Result<GetPromptResponse, ErrorData> {
    let arguments = request.arguments.unwrap_or_default();
    let argument = |name: &str| {
        let missing = || ErrorData::invalid_params(format!("the argument {name:?} is missing"), None);
        arguments.get(name).and_then(Value::as_str).ok_or_else(missing)
    };
    let answers = request.input_responses.unwrap_or_default();
    let messages = match request.name.as_str() {
        "test_simple_prompt" => vec![text("This is a simple prompt for testing.")],
        "test_prompt_with_arguments" => {
            let (one, two) = (argument("arg1")?, argument("arg2")?);
            vec![text(format!("Prompt with arguments: arg1='{one}', arg2='{two}'"))]
        }
        "test_prompt_with_embedded_resource" => {
            let words = "Embedded resource content for testing.";
            let resource = ResourceContents::text(words, argument("resourceUri")?).with_mime_type("text/plain");
            vec![message(ContentBlock::resource(resource)), text("Please process the embedded resource above.")]
        }
        "test_prompt_with_image" => {
            vec![message(ContentBlock::image(PIXEL, "image/png")), text("Please analyze the image above.")]
        }
        "test_input_required_result_prompt" => {
            let round = Round { server, context, subject: &request.name, answers, state: request.request_state };
            let question = field("What context should the prompt use?", "context", "string");
            match round.ask(&[("user_context", question)], None).await {
                Ok(answers) => vec![text(format!("Use {}", filled(&answers, "user_context", "context")))],
                Err(halt) => return Halt::into_result(halt),
            }
        }
        "changed_prompt" if server.lists().prompt => vec![text("The prompt is there")],
        name => return Err(ErrorData::invalid_params(format!("there is no prompt {name:?}"), None)),
    };
    Ok(GetPromptResult::new(messages).into())
}

fn message(content: ContentBlock) -> PromptMessage {
    PromptMessage::new(Role::User, content)
}

fn text(words: impl Into<String>) -> PromptMessage {
    message(ContentBlock::text(words))
}

pub(crate) fn complete(request: &CompleteRequestParams) -> Result<CompleteResult, ErrorData> {
    let begun = &request.argument.value;
    let words = WORDS.iter().filter(|word| word.starts_with(begun.as_str())).map(|word| (*word).to_owned()).collect();
    let completion = CompletionInfo::new(words).map_err(|error| ErrorData::internal_error(error, None))?;
    Ok(CompleteResult::new(completion))
}
