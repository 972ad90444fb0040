//! Where an agent works: its folder and its roots, as far as they are known.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::envelope::quoted;

/// Where an agent works.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in crate::hub) struct Place {
    /// Its first root, or else the folder that it was started in, if that is known.
    pub folder: Option<PathBuf>,
    /// The roots that it has named: a raw list.
    pub roots: Option<Arc<str>>,
}

/// The roots in the result of `roots/list`, raw, as a list in one spelling.
pub(in crate::hub) fn named_roots(result: &str) -> Option<Arc<str>> {
    let result: serde_json::Value = serde_json::from_str(result).ok()?;
    Some(result.get("roots").filter(|roots| roots.is_array())?.to_string().into())
}

/// A folder as a list of one root, raw.
pub(in crate::hub) fn root_of(folder: &Path) -> Option<Arc<str>> {
    let uri = url::Url::from_file_path(folder).ok()?;
    let name = folder.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    Some(format!(r#"[{{"uri":{},"name":{}}}]"#, quoted(uri.as_str()), quoted(&name)).into())
}
