//! The resources, of which one says that it changes.

use rmcp::ErrorData;
use rmcp::model::{ReadResourceResult, Resource, ResourceContents, ResourceTemplate};
use serde_json::json;

use crate::skills;

/// Who subscribes to it hears of it.
pub(crate) const WATCHED: &str = "test://watched-resource";
/// A red image of one pixel.
pub(crate) const PIXEL: &str =
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAIAAACQd1PeAAAADElEQVR42mP4z8AAAAMBAQD3A0FDAAAAAElFTkSuQmCC";

pub(crate) fn all() -> Vec<Resource> {
    let mut resources = vec![
        resource("test://static-text", "static-text", "text/plain"),
        resource("test://static-binary", "static-binary", "image/png"),
        resource(WATCHED, "watched-resource", "text/plain"),
    ];
    resources.extend(skills::resources());
    resources
}

fn resource(uri: &str, name: &str, kind: &str) -> Resource {
    Resource::new(uri, name).with_description("A resource for testing").with_mime_type(kind)
}

pub(crate) fn templates() -> Vec<ResourceTemplate> {
    let template = ResourceTemplate::new("test://template/{id}/data", "template");
    vec![template.with_description("A resource for every id").with_mime_type("application/json")]
}

pub(crate) fn read(uri: &str) -> Result<ReadResourceResult, ErrorData> {
    let text = |words: &str, kind: &str| ResourceContents::text(words, uri).with_mime_type(kind);
    let contents = match uri {
        "test://static-text" => text("This is the content of the static text resource.", "text/plain"),
        "test://static-binary" => ResourceContents::blob(PIXEL, uri).with_mime_type("image/png"),
        WATCHED => text("This is watched.", "text/plain"),
        _ => {
            let id = uri.strip_prefix("test://template/").and_then(|rest| rest.strip_suffix("/data"));
            match (id, skills::file(uri)) {
                (Some(id), _) => {
                    let data = json!({ "id": id, "templateTest": true, "data": format!("Data for ID: {id}") });
                    text(&data.to_string(), "application/json")
                }
                (None, Some(words)) => text(words, "text/markdown"),
                (None, None) => {
                    return Err(ErrorData::resource_not_found("Resource not found", Some(json!({ "uri": uri }))));
                }
            }
        }
    };
    Ok(ReadResourceResult::new(vec![contents]))
}
