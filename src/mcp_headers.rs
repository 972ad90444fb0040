//! What the modern era repeats of a message in its HTTP headers (MCP 2026-07-28 `basic/transports/streamable-http`, "Request
//! Metadata"). Pure.

use std::borrow::Cow;
use std::collections::HashMap;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use http::header::{HeaderMap, HeaderName, HeaderValue};
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use crate::envelope::{Envelope, text};
use crate::era::Era;
use crate::method::{Method, Names};

/// What the value of a header looks like that could not be sent as it is.
const ENCODED: (&str, &str) = ("=?base64?", "?=");
/// Members of a JSON Schema whose values are no schemas.
const NO_SCHEMAS: [&str; 5] = ["default", "const", "enum", "examples", "dependentRequired"];
/// Members whose values are maps from names to schemas.
const MAPS: [&str; 5] = ["$defs", "definitions", "dependencies", "dependentSchemas", "patternProperties"];
const ANNOTATION: &str = "x-mcp-header";

/// The parameters that are repeated in headers, of each tool that has any.
pub type Annotated = HashMap<String, Vec<Parameter>>;

/// One annotated parameter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parameter {
    /// Member names from the arguments to the value.
    path: Vec<String>,
    header: HeaderName,
    is_number: bool,
}

/// The headers for a message of the modern era, whose revision stands in its `_meta`.
pub fn headers(envelope: &Envelope<'_>, tools: &Annotated) -> HeaderMap {
    let mut headers = HeaderMap::new();
    let mut add = |name: HeaderName, value: &str| {
        if let Ok(value) = HeaderValue::from_str(&encoded(value)) {
            headers.insert(name, value);
        }
    };
    let params = &envelope.params;
    if let Some(version) = params.meta.protocol_version.and_then(text) {
        add(HeaderName::from_static("mcp-protocol-version"), &version);
    }
    add(HeaderName::from_static("mcp-method"), &envelope.method_name);
    let name = name_of(envelope);
    if let Some(name) = &name {
        add(HeaderName::from_static("mcp-name"), name);
    }
    let annotated = name.filter(|_| envelope.method == Some(Method::CallTool)).and_then(|name| tools.get(&*name));
    for parameter in annotated.into_iter().flatten() {
        if let Some(value) = params.arguments.and_then(|arguments| argument(arguments, &parameter.path)) {
            add(parameter.header.clone(), &value);
        }
    }
    headers
}

/// What `Mcp-Name` repeats; of a task, its id (tasks extension).
fn name_of<'e>(envelope: &Envelope<'e>) -> Option<Cow<'e, str>> {
    let params = &envelope.params;
    let method = envelope.method.filter(|method| method.is_of(Era::Modern));
    let names = method.map_or(Names::Nothing, Method::names);
    // What a completion names, no header repeats.
    params.named(names).filter(|_| names != Names::Reference).and_then(text)
}

/// The value of an argument as a header has it; nothing for one that is absent, null, a list or an object.
fn argument(arguments: &str, path: &[String]) -> Option<String> {
    let mut at = arguments;
    for name in path {
        let members: HashMap<String, &RawValue> = serde_json::from_str(at).ok()?;
        at = members.get(name)?.get();
    }
    match at.as_bytes().first()? {
        b'"' => text(at).map(|text| text.into_owned()),
        b'n' | b'[' | b'{' => None,
        // A number keeps its digits.
        _ => Some(at.to_owned()),
    }
}

/// A value as it may stand in a header.
fn encoded(value: &str) -> String {
    let padded = value.starts_with([' ', '\t']) || value.ends_with([' ', '\t']);
    let printable = value.bytes().all(|byte| (0x20..0x7f).contains(&byte));
    let looks_encoded = value.starts_with(ENCODED.0) && value.ends_with(ENCODED.1);
    if printable && !padded && !looks_encoded {
        return value.to_owned();
    }
    format!("{}{}{}", ENCODED.0, BASE64_STANDARD.encode(value), ENCODED.1)
}

/// Why the headers of a request do not go with its body, if they do not.
pub fn mismatch(envelope: &Envelope<'_>, given: &HeaderMap) -> Option<String> {
    let params = &envelope.params;
    let version = params.meta.protocol_version.and_then(text);
    let name = name_of(envelope);
    let method = Some(&*envelope.method_name);
    [("mcp-protocol-version", version.as_deref()), ("mcp-method", method), ("mcp-name", name.as_deref())]
        .into_iter()
        .find_map(|(header, body)| differs(header, given, body?))
}

/// The same of the arguments of a tool.
pub fn mismatched_argument(envelope: &Envelope<'_>, parameters: &[Parameter], given: &HeaderMap) -> Option<String> {
    parameters.iter().find_map(|parameter| {
        let value = envelope.params.arguments.and_then(|arguments| argument(arguments, &parameter.path));
        match value {
            Some(value) => {
                let number = given.get(&parameter.header).and_then(|header| header.to_str().ok());
                let same = parameter.is_number && number.is_some_and(|number| same_number(number.trim(), &value));
                differs(parameter.header.as_str(), given, &value).filter(|_| !same)
            }
            None => given
                .contains_key(&parameter.header)
                .then(|| format!("the header `{}` names an argument that the body does not have", parameter.header)),
        }
    })
}

/// Why a header is not what the body says.
fn differs(header: &str, given: &HeaderMap, body: &str) -> Option<String> {
    let mut all = given.get_all(header).iter();
    let Some(value) = all.next() else {
        return Some(format!("the header `{header}` is missing: it must repeat `{body}` of the body"));
    };
    if all.next().is_some() {
        return Some(format!("the header `{header}` stands more than once"));
    }
    let value = value.to_str().ok().map(|value| value.trim_matches([' ', '\t'])).and_then(decoded);
    match value {
        None => Some(format!("the header `{header}` cannot be read")),
        Some(value) if value == body => None,
        Some(value) => Some(format!("the header `{header}` says `{value}`, the body `{body}`")),
    }
}

fn same_number(one: &str, other: &str) -> bool {
    match (one.parse::<i128>(), other.parse::<i128>()) {
        (Ok(one), Ok(other)) => one == other,
        (_, _) => match (one.parse::<f64>(), other.parse::<f64>()) {
            (Ok(one), Ok(other)) => one.is_finite() && one == other,
            (_, _) => false,
        },
    }
}

/// The value that a header stands for.
fn decoded(value: &str) -> Option<String> {
    match value.strip_prefix(ENCODED.0).and_then(|rest| rest.strip_suffix(ENCODED.1)) {
        Some(encoded) => String::from_utf8(BASE64_STANDARD.decode(encoded).ok()?).ok(),
        None => Some(value.to_owned()),
    }
}

/// Reads the annotations of every tool in a result of `tools/list`; a tool with a wrong one is named with the reason, and
/// must not be offered.
pub fn read(result: &str, tools: &mut Annotated) -> Vec<(String, String)> {
    #[derive(Deserialize)]
    struct Tools<'a> {
        #[serde(borrow)]
        tools: Vec<&'a RawValue>,
    }
    #[derive(Deserialize)]
    struct Named<'a> {
        #[serde(borrow)]
        name: Cow<'a, str>,
    }
    #[derive(Deserialize)]
    struct Annotating {
        #[serde(default, rename = "inputSchema")]
        schema: Value,
    }
    let Ok(Tools { tools: listed }) = serde_json::from_str(result) else { return Vec::new() };
    let mut wrong = Vec::new();
    for raw in listed.into_iter().map(RawValue::get) {
        let Ok(Named { name }) = serde_json::from_str(raw) else { continue };
        // Most tools have none, and then their schema need not be walked.
        let schema = || serde_json::from_str(raw).map_err(|error| error.to_string());
        let found = match raw.contains(ANNOTATION) {
            true => schema().and_then(|Annotating { schema }| parameters(&schema)),
            false => Ok(Vec::new()),
        };
        match found {
            Ok(parameters) if !parameters.is_empty() => drop(tools.insert(name.into_owned(), parameters)),
            Ok(_) => drop(tools.remove(&*name)),
            Err(reason) => {
                tools.remove(&*name);
                wrong.push((name.into_owned(), reason));
            }
        }
    }
    wrong
}

fn parameters(schema: &Value) -> Result<Vec<Parameter>, String> {
    let mut found = Vec::new();
    walk(schema, Some(&mut Vec::new()), &mut found)?;
    for (index, parameter) in found.iter().enumerate() {
        if found[..index].iter().any(|earlier| earlier.header == parameter.header) {
            return Err(format!("two parameters have the header `{}`", parameter.header));
        }
    }
    Ok(found)
}

/// Walks a schema; `path` is known where only `properties` led to it from the root.
fn walk(schema: &Value, mut path: Option<&mut Vec<String>>, found: &mut Vec<Parameter>) -> Result<(), String> {
    let members = match schema {
        Value::Object(members) => members,
        Value::Array(items) => return items.iter().try_for_each(|item| walk(item, None, found)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => return Ok(()),
    };
    for (key, value) in members {
        match (key.as_str(), &mut path) {
            (ANNOTATION, Some(path)) if !path.is_empty() => found.push(parameter(path, value, members.get("type"))?),
            (ANNOTATION, _) => return Err(format!("`{ANNOTATION}` stands where no parameter is")),
            ("properties", path) => {
                for (name, property) in value.as_object().into_iter().flatten() {
                    match path {
                        Some(path) => {
                            path.push(name.clone());
                            walk(property, Some(path), found)?;
                            path.pop();
                        }
                        None => walk(property, None, found)?,
                    }
                }
            }
            (key, _) if NO_SCHEMAS.contains(&key) => {}
            (key, _) if MAPS.contains(&key) => {
                value.as_object().into_iter().flatten().try_for_each(|(_, schema)| walk(schema, None, found))?;
            }
            (_, _) => walk(value, None, found)?,
        }
    }
    Ok(())
}

fn parameter(path: &[String], annotation: &Value, kind: Option<&Value>) -> Result<Parameter, String> {
    let name = annotation.as_str().filter(|name| !name.is_empty());
    let Some(name) = name else { return Err(format!("`{ANNOTATION}` of `{}` is no name", path.join("."))) };
    let header = HeaderName::from_bytes(format!("mcp-param-{name}").as_bytes())
        .map_err(|_| format!("`{ANNOTATION}` of `{}` is no name of an HTTP header", path.join(".")))?;
    match kind.and_then(Value::as_str) {
        Some(kind @ ("string" | "integer" | "boolean")) => {
            Ok(Parameter { path: path.to_vec(), header, is_number: kind == "integer" })
        }
        _ => Err(format!("`{}` has `{ANNOTATION}` and is no string, integer or boolean", path.join("."))),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn annotated(schema: &Value) -> Result<Annotated, String> {
        let mut tools = Annotated::new();
        let result = json!({ "tools": [{ "name": "t", "inputSchema": schema }] }).to_string();
        match read(&result, &mut tools).pop() {
            None => Ok(tools),
            Some((_, reason)) => Err(reason),
        }
    }

    #[test]
    fn headers_must_go_with_the_body() {
        let frame = r#"{"id":1,"method":"tools/call","params":{"name":"tü","arguments":{"n":42,"s":" x"},"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28"}}}"#;
        let envelope = Envelope::parse(frame.as_bytes()).expect("valid");
        let parameter = |name: &str| Parameter {
            path: vec![name.to_owned()],
            header: HeaderName::try_from(format!("mcp-param-{name}")).expect("a name"),
            is_number: name == "n",
        };
        let parameters = [parameter("n"), parameter("s")];
        let tools = Annotated::from([("tü".to_owned(), parameters.to_vec())]);
        let mut given = headers(&envelope, &tools);
        let all = |given: &HeaderMap| {
            mismatch(&envelope, given).or_else(|| mismatched_argument(&envelope, &parameters, given))
        };
        assert_eq!(all(&given), None, "what we send, we take");
        given.insert("mcp-param-n", HeaderValue::from_static("42.0"));
        assert_eq!(all(&given), None, "numbers are compared as such");
        for (name, value) in [
            ("mcp-method", "tools/list"),
            ("mcp-name", "=?base64?dMO8=?="),
            ("mcp-param-s", "x"),
            ("mcp-param-n", "43"),
            ("mcp-protocol-version", "2025-11-25"),
        ] {
            let mut wrong = given.clone();
            wrong.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
            assert!(all(&wrong).is_some_and(|why| why.contains(name)), "{name}");
            wrong.remove(name);
            assert!(all(&wrong).is_some_and(|why| why.contains("missing")), "{name}");
        }
        assert_eq!(decoded("=?base64?dMO8"), Some("=?base64?dMO8".to_owned()), "not the whole wrapping");
    }

    #[test]
    fn values_as_headers_have_them() {
        for (value, expected) in [
            ("us-west1", "us-west1"),
            ("Hello, 世界", "=?base64?SGVsbG8sIOS4lueVjA==?="),
            (" padded ", "=?base64?IHBhZGRlZCA=?="),
            ("line1\nline2", "=?base64?bGluZTEKbGluZTI=?="),
            ("=?base64?literal?=", "=?base64?PT9iYXNlNjQ/bGl0ZXJhbD89?="),
            ("", ""),
        ] {
            assert_eq!(encoded(value), expected);
        }
    }

    #[test]
    fn what_a_call_repeats() {
        let schema = json!({ "properties": {
            "region": { "type": "string", "x-mcp-header": "Region" },
            "more": { "properties": { "n": { "type": "integer", "x-mcp-header": "N" }, "b": { "type": "boolean", "x-mcp-header": "B" } } },
        } });
        let tools = annotated(&schema).expect("valid");
        let frame = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"t","arguments":{"region":null,"more":{"n":9007199254740993,"b":true}},"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28"}}}"#;
        let envelope = Envelope::parse(frame.as_bytes()).expect("valid");
        let headers = headers(&envelope, &tools);
        let mut all: Vec<_> =
            headers.iter().map(|(name, value)| format!("{name}: {}", value.to_str().expect("text"))).collect();
        all.sort();
        assert_eq!(
            all,
            [
                "mcp-method: tools/call",
                "mcp-name: t",
                "mcp-param-b: true",
                "mcp-param-n: 9007199254740993",
                "mcp-protocol-version: 2026-07-28"
            ]
        );
    }

    #[test]
    fn wrong_annotations() {
        let property = |property: Value| json!({ "properties": { "p": property } });
        for schema in [
            property(json!({ "type": "string", "x-mcp-header": "" })),
            property(json!({ "type": "string", "x-mcp-header": "a b" })),
            property(json!({ "type": "string", "x-mcp-header": 1 })),
            property(json!({ "type": "number", "x-mcp-header": "A" })),
            property(json!({ "type": "array", "items": { "type": "string", "x-mcp-header": "A" } })),
            property(json!({ "anyOf": [{ "type": "string", "x-mcp-header": "A" }] })),
            json!({ "x-mcp-header": "A" }),
            json!({ "$defs": { "d": { "properties": { "p": { "type": "string", "x-mcp-header": "A" } } } } }),
            json!({ "properties": { "p": { "type": "string", "x-mcp-header": "A" }, "q": { "type": "string", "x-mcp-header": "a" } } }),
        ] {
            assert!(annotated(&schema).is_err(), "{schema}");
        }
        let harmless = property(json!({ "type": "object", "default": { "x-mcp-header": "A" } }));
        assert_eq!(annotated(&harmless), Ok(Annotated::new()));
    }
}
