//! What is wrong with a configuration file, each thing with its line.

/// One thing that is wrong with a configuration file.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
pub struct Problem {
    /// Counted from 1.
    pub line: usize,
    pub message: String,
}

/// Collects problems and notes, and tells the line of a place in the text.
pub(super) struct Problems<'t> {
    text: &'t str,
    found: Vec<Problem>,
    notes: Vec<Problem>,
    /// The keys that lead to the value that is read now.
    path: Vec<String>,
}

impl<'t> Problems<'t> {
    pub(super) fn new(text: &'t str) -> Self {
        Self { text, found: Vec::new(), notes: Vec::new(), path: Vec::new() }
    }

    pub(super) fn add(&mut self, at: usize, message: String) {
        self.add_at_line(self.line(at), message);
    }

    pub(super) fn add_at_line(&mut self, line: usize, message: String) {
        let message = self.named(message);
        self.found.push(Problem { line, message });
    }

    /// Something that a person should know, and that stops nothing.
    pub(super) fn note(&mut self, at: usize, message: String) {
        let note = Problem { line: self.line(at), message: self.named(message) };
        self.notes.push(note);
    }

    /// A message with the key that it is about.
    fn named(&self, message: String) -> String {
        if self.path.is_empty() { message } else { format!("{}: {message}", self.path.join(".")) }
    }

    /// Reads what stands under a key.
    pub(super) fn under<T>(&mut self, key: &str, read: impl FnOnce(&mut Self) -> T) -> T {
        self.path.push(key.to_owned());
        let read = read(self);
        self.path.pop();
        read
    }

    /// How many problems there are so far, for [`Self::since`].
    pub(super) fn count(&self) -> usize {
        self.found.len()
    }

    /// What was found after the first `count`.
    pub(super) fn since(&self, count: usize) -> &[Problem] {
        self.found.get(count..).unwrap_or_default()
    }

    pub(super) fn line(&self, at: usize) -> usize {
        let before = self.text.as_bytes().get(..at).unwrap_or(self.text.as_bytes());
        1 + memchr::memchr_iter(b'\n', before).count()
    }

    /// The problems and the notes, in the order of the lines.
    pub(super) fn into_found(mut self) -> (Vec<Problem>, Vec<Problem>) {
        self.found.sort_by_key(|problem| problem.line);
        self.notes.sort_by_key(|note| note.line);
        (self.found, self.notes)
    }
}
