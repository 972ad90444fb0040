//! The one skill of the skills extension: a folder with a file and a folder in it.

use rmcp::ErrorData;
use rmcp::model::{
    DIRECTORY_MIME_TYPE, GetSkillResult, ReadResourceDirectoryResult, Resource, Skill, SkillFrontmatter, SkillResource,
    SkillResources,
};
use serde_json::json;

const NAME: &str = "greeting";
const DESCRIPTION: &str = "How to greet somebody.";
const FOLDER: &str = "skill://greeting";
const SKILL: &str = "skill://greeting/SKILL.md";
const REFERENCES: &str = "skill://greeting/references";
const WORDS: &str = "skill://greeting/references/words.md";

pub(crate) fn file(uri: &str) -> Option<&'static str> {
    match uri {
        SKILL => Some(
            "---\nname: greeting\ndescription: How to greet somebody.\n---\n\nSay a word of references/words.md.\n",
        ),
        WORDS => Some("hello, good morning\n"),
        _ => None,
    }
}

pub(crate) fn skill() -> Skill {
    let files = [SKILL, WORDS].map(|uri| SkillResource::from_bytes(uri, file(uri).unwrap_or_default().as_bytes()));
    Skill::new(SKILL, SkillFrontmatter::new(NAME, DESCRIPTION), SkillResources::Files(files.to_vec()))
}

pub(crate) fn resources() -> [Resource; 2] {
    let markdown = |uri, name| Resource::new(uri, name).with_mime_type("text/markdown");
    [markdown(SKILL, NAME).with_description(DESCRIPTION), markdown(WORDS, "words").with_description("Words to say")]
}

pub(crate) fn get(uri: &str) -> Result<GetSkillResult, ErrorData> {
    if uri == SKILL { Ok(GetSkillResult::new(skill())) } else { Err(unknown("skill", uri)) }
}

pub(crate) fn directory(uri: &str) -> Result<ReadResourceDirectoryResult, ErrorData> {
    let [skill, words] = resources();
    let children = match uri {
        FOLDER => vec![skill, Resource::new(REFERENCES, "references").with_mime_type(DIRECTORY_MIME_TYPE)],
        REFERENCES => vec![words],
        _ => return Err(unknown("directory", uri)),
    };
    Ok(ReadResourceDirectoryResult::with_all_items(children))
}

fn unknown(what: &str, uri: &str) -> ErrorData {
    ErrorData::invalid_params(format!("there is no such {what}"), Some(json!({ "uri": uri })))
}
