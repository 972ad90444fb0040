//! What can be told of a server in a container by its command line. Pure.

/// The programs' own flags that are followed by a value.
const WITH_VALUE: [&str; 11] =
    ["-H", "--host", "-c", "--context", "--config", "-l", "--log-level", "-f", "--file", "-p", "--project-name"];

/// What is missing from a command that starts a container, so that the container ends with its server; nothing if it starts none.
pub(super) fn remark(command: &str, words: &[&str]) -> Option<String> {
    let missing = missing(command, words)?;
    if missing.is_empty() {
        return None;
    }
    Some(format!("the container may stay behind when the server ends: add {} behind `run`", missing.join(" and ")))
}

/// The flags that a `docker run` should have and has not; `None` if it is none.
fn missing(command: &str, words: &[&str]) -> Option<Vec<&'static str>> {
    let flags = flags(command, words)?;
    let has = |names: &[&str]| {
        flags.iter().any(|flag| names.iter().any(|name| flag == name || flag.strip_prefix(name) == Some("=true")))
    };
    // `-it` is `-i` and `-t`.
    let short = |letter: char| {
        flags.iter().any(|flag| flag.starts_with('-') && !flag.starts_with("--") && flag[1..].contains(letter))
    };
    let mut missing = Vec::new();
    if !has(&["--rm"]) {
        missing.push("`--rm`");
    }
    if !has(&["--init"]) {
        missing.push("`--init`");
    }
    if !has(&["--interactive"]) && !short('i') {
        missing.push("`-i`");
    }
    Some(missing)
}

/// The flags of `run`, if a command runs a container.
fn flags<'w>(command: &str, words: &[&'w str]) -> Option<Vec<&'w str>> {
    let words = &words[behind_run(command, words)?..];
    Some(words.iter().copied().take_while(|word| *word != "--").filter(|word| word.starts_with('-')).collect())
}

/// Where the flags of `run` begin among the arguments, if a command is one of docker, podman or nerdctl that runs a
/// container.
pub fn behind_run(command: &str, words: &[&str]) -> Option<usize> {
    let program = command.rsplit(['/', '\\']).next()?.trim_end_matches(".exe");
    if !["docker", "podman", "nerdctl"].contains(&program) {
        return None;
    }
    // Before it stand only flags of the program itself and `container`, or `compose`.
    let mut rest = words.iter().enumerate();
    while let Some((at, word)) = rest.next() {
        match *word {
            "run" => return Some(at + 1),
            "container" | "compose" => {}
            flag if WITH_VALUE.contains(&flag) => drop(rest.next()),
            flag if flag.starts_with('-') => {}
            _ => return None,
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_container_lacks() {
        for (line, expected) in [
            ("docker run -i --rm --init mcp/fetch", Some("")),
            ("docker run -i mcp/fetch", Some("`--rm` `--init`")),
            ("/usr/bin/podman run -it --rm x", Some("`--init`")),
            ("docker container run --interactive=true --rm=true --init x", Some("")),
            ("docker run x", Some("`--rm` `--init` `-i`")),
            ("docker exec -i c server", None),
            ("docker exec -i c uv run server.py", None),
            ("docker compose exec app npm run x", None),
            ("docker --context far -H tcp://h run --rm --init -i x", Some("")),
            ("npx run", None),
        ] {
            let mut words = line.split(' ');
            let command = words.next().unwrap_or_default();
            let missing = missing(command, &words.collect::<Vec<_>>());
            assert_eq!(missing.map(|missing| missing.join(" ")).as_deref(), expected, "{line}");
        }
    }
}
