//! `call`: a tool's arguments from the command line, and its result for a person.

use std::io::{self, Read, Write};
use std::process::ExitCode;

use anyhow::{Context, bail};
use dialoguer::Input;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use crate::cli::done::{Done, Trouble, complain, out};
use crate::cli::progress::Progress;
use crate::cli::reach::here;
use crate::cli::tools;
use crate::control::{Client, DaemonClient};

/// Calls a tool; a person may be asked for what it needs.
pub(super) async fn run(
    client: &Client,
    server: &str,
    tool: &str,
    mut arguments: Option<Box<RawValue>>,
    interactive: bool,
    json: bool,
) -> Done {
    if interactive {
        arguments = Some(asked(client, server, tool, arguments).await?);
    }
    let progress = Progress::begin(format!("`{server}` is at `{tool}`"));
    let result = client.call_tool(server.to_owned(), tool.to_owned(), arguments, here()).await;
    progress.end();
    print(&result?, json)
}

/// The arguments with those that the person adds at the terminal: what is needed must be said, the rest may be left out.
async fn asked(
    client: &Client,
    server: &str,
    tool: &str,
    given: Option<Box<RawValue>>,
) -> Result<Box<RawValue>, Trouble> {
    let mut arguments: Map<String, Value> = match given {
        Some(given) => serde_json::from_str(given.get()).map_err(anyhow::Error::from)?,
        None => Map::new(),
    };
    let listed = client.list_tools(Some(server.to_owned()), here()).await?;
    let (_, described) = tools::find(&listed, server, tool)?;
    for parameter in described.parameters().into_iter().filter(|parameter| parameter.required) {
        if arguments.contains_key(&parameter.name) {
            continue;
        }
        if !parameter.description.is_empty() {
            complain(&format!("{}: {}", parameter.name, parameter.description));
        }
        let prompt = format!("{} ({})", parameter.name, parameter.kind);
        let text: String = Input::new().with_prompt(prompt).interact_text().context("cannot ask at the terminal")?;
        let value = match parameter.kind.as_str() {
            "string" => Value::from(text),
            _ => serde_json::from_str(&text).unwrap_or_else(|_| Value::from(text)),
        };
        arguments.insert(parameter.name, value);
    }
    Ok(serde_json::value::to_raw_value(&arguments).map_err(anyhow::Error::from)?)
}

/// The arguments: one JSON object, `-` for one on standard input, or `key=value` pairs. A value that is JSON counts as
/// such, any other as a string; `key:=value` must be JSON.
pub(super) fn arguments(words: &[String]) -> anyhow::Result<Option<Box<RawValue>>> {
    let text = match words {
        [] => return Ok(None),
        [word] if word == "-" => {
            let mut text = String::new();
            io::stdin().read_to_string(&mut text).context("cannot read the arguments from standard input")?;
            text
        }
        [word] if word.trim_start().starts_with('{') => word.clone(),
        words => Value::Object(words.iter().map(|word| pair(word)).collect::<anyhow::Result<Map<_, _>>>()?).to_string(),
    };
    let raw: Box<RawValue> = serde_json::from_str(text.trim()).context("the arguments are not valid JSON")?;
    if !raw.get().starts_with('{') {
        bail!("the arguments must be a JSON object");
    }
    Ok(Some(raw))
}

fn pair(word: &str) -> anyhow::Result<(String, Value)> {
    let Some((key, value)) = word.split_once('=') else {
        bail!("`{word}` is not key=value, and not a JSON object");
    };
    match key.strip_suffix(':') {
        Some(key) => Ok((
            key.to_owned(),
            serde_json::from_str(value).with_context(|| format!("the value of `{key}` is not JSON"))?,
        )),
        None => Ok((key.to_owned(), serde_json::from_str(value).unwrap_or_else(|_| Value::from(value)))),
    }
}

/// Prints a tool's result: its text, or all of it as JSON. A result that is an error makes the exit status 1.
pub(super) fn print(result: &RawValue, json: bool) -> Done {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Result {
        #[serde(default)]
        is_error: bool,
        #[serde(default)]
        content: Vec<Content>,
    }
    #[derive(Deserialize)]
    struct Content {
        #[serde(rename = "type")]
        kind: String,
        text: Option<String>,
    }
    let parsed = serde_json::from_str::<Result>(result.get());
    let mut out = out();
    match &parsed {
        Ok(parsed)
            if !json && parsed.content.iter().all(|content| content.kind == "text") && !parsed.content.is_empty() =>
        {
            for content in &parsed.content {
                writeln!(out, "{}", content.text.as_deref().unwrap_or_default())?;
            }
        }
        _ if json => writeln!(io::stdout(), "{result}")?,
        _ => writeln!(out, "{result}")?,
    }
    Ok(if parsed.is_ok_and(|parsed| parsed.is_error) { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_from_words() {
        let raw = |words: &[&str]| {
            let words: Vec<_> = words.iter().map(|word| (*word).to_owned()).collect();
            arguments(&words).map(|raw| raw.map(|raw| raw.get().to_owned())).map_err(|error| error.to_string())
        };
        assert_eq!(raw(&[]), Ok(None));
        assert_eq!(raw(&["{\"a\": 12345678901234567890123}"]), Ok(Some("{\"a\": 12345678901234567890123}".into())));
        assert_eq!(
            raw(&["a=1", "b=x y", "c:=\"1\"", "d=e=f"]),
            Ok(Some(r#"{"a":1,"b":"x y","c":"1","d":"e=f"}"#.into()))
        );
        for bad in [&["a"][..], &["a:=x"], &["{"]] {
            assert!(raw(bad).is_err(), "{bad:?}");
        }
    }
}
