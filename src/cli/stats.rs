//! `stats`: the calls counted and measured; `tools --cost`: what tools cost that are offered, and which nobody ever called.

use std::collections::HashSet;
use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

use serde::Serialize;

use crate::cli::args::Which;
use crate::cli::calls::{failed, nothing, when};
use crate::cli::done::{Done, Trouble, out};
use crate::cli::figures::{count, size, took};
use crate::cli::table::{table, wrapped};
use crate::config::Config;
use crate::lists::ListKind;
use crate::record::{self, By, Query, ReadError, Reader, Stat};
use crate::upstream::catalog;

/// How many bytes of JSON make a token, about.
const BYTES_A_TOKEN: usize = 4;

pub(super) fn run(by: By, which: &Which, config: &Path, state: &Path, json: bool) -> Done {
    let lines = match Reader::open(&record::file(state)) {
        Ok(reader) => reader.stats(&Query::from(which), by).map_err(failed)?.lines,
        Err(ReadError::Missing(_)) => Vec::new(),
        Err(error) => return Err(failed(error)),
    };
    if json {
        writeln!(io::stdout(), "{}", serde_json::to_string(&lines).map_err(anyhow::Error::from)?)?;
        return Ok(ExitCode::SUCCESS);
    }
    if lines.is_empty() {
        return nothing(which, config, json);
    }
    let named: &[&str] = match by {
        By::Server => &["SERVER"],
        By::Tool => &["SERVER", "TOOL"],
        By::Agent => &["AGENT"],
    };
    let heads: Vec<_> = named.iter().copied().chain(["CALLS", "FAILED", "P50", "P95", "ANSWERS", "TOKENS"]).collect();
    let row = |stat: &Stat| {
        let names = [&stat.server, &stat.tool, &stat.agent].into_iter().flatten().cloned();
        let failures = if stat.failures == 0 { "-".to_owned() } else { count(stat.failures) };
        let figures = [
            count(stat.calls),
            failures,
            took(stat.p50_ms),
            took(stat.p95_ms),
            size(stat.received),
            count(stat.tokens),
        ];
        names.chain(figures).collect()
    };
    let rows: Vec<Vec<String>> = lines.iter().map(row).collect();
    table(&mut out(), &heads, &rows)?;
    Ok(ExitCode::SUCCESS)
}

/// What one server's tools cost each session that lists them.
#[derive(Debug, Serialize)]
struct Cost {
    server: String,
    tools: usize,
    /// An estimate of the tokens of their descriptions and schemas, which each session is given.
    tokens: usize,
    /// Those that are in no record.
    never_called: Vec<Unused>,
    /// Its tools are not known yet.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    unknown: bool,
}

#[derive(Debug, Serialize)]
struct Unused {
    tool: String,
    tokens: usize,
}

/// `tools --cost`, of all servers or of one; from what is kept on disk.
pub(super) fn cost(server: Option<&str>, config: &Path, state: &Path, json: bool) -> Done {
    let config = Config::load(config).map_err(|error| Trouble::Other(error.into()))?;
    let (called, since) = match Reader::open(&record::file(state)) {
        Ok(reader) => (reader.called().map_err(failed)?, reader.begins().map_err(failed)?),
        Err(ReadError::Missing(_)) => (HashSet::new(), None),
        Err(error) => return Err(failed(error)),
    };
    let wanted = |name: &str| server.is_none_or(|wanted| wanted == name);
    let usable = config.servers.iter().filter(|(name, server)| server.is_usable() && wanted(name.as_str()));
    let mut costs: Vec<Cost> = usable
        .map(|(name, server)| {
            let file = state.join("catalogs").join(format!("{name}.json"));
            let list = catalog::load(&file, &catalog::fingerprint(server)).last_list(ListKind::Tools);
            let unknown = list.is_none();
            let tools: Vec<_> = list.iter().flatten().filter(|item| server.tools.allows(&item.key)).collect();
            let tokens = |raw: &str| raw.len().div_ceil(BYTES_A_TOKEN);
            let unused = tools.iter().filter(|item| !called.contains(&(name.to_string(), item.key.to_string())));
            Cost {
                server: name.to_string(),
                tools: tools.len(),
                tokens: tools.iter().map(|item| tokens(&item.raw)).sum(),
                never_called: unused
                    .map(|item| Unused { tool: item.key.to_string(), tokens: tokens(&item.raw) })
                    .collect(),
                unknown,
            }
        })
        .collect();
    costs.sort_by_key(|cost| std::cmp::Reverse(cost.tokens));
    if let (Some(server), true) = (server, costs.is_empty()) {
        return Err(anyhow::anyhow!("no server is named `{server}` in the configuration").into());
    }
    if json {
        writeln!(io::stdout(), "{}", serde_json::to_string(&costs).map_err(anyhow::Error::from)?)?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut out = out();
    let unused = |cost: &Cost| cost.never_called.iter().map(|unused| unused.tokens).sum::<usize>();
    let row = |cost: &Cost| {
        let known = |number: usize| if cost.unknown { "?".to_owned() } else { count(number as u64) };
        vec![
            cost.server.clone(),
            known(cost.tools),
            known(cost.tokens),
            known(cost.never_called.len()),
            known(unused(cost)),
        ]
    };
    let rows: Vec<_> = costs.iter().map(row).collect();
    table(&mut out, &["SERVER", "TOOLS", "TOKENS", "NEVER CALLED", "OF THEM TOKENS"], &rows)?;
    let total = costs.iter().map(|cost| cost.tokens).sum::<usize>() as u64;
    writeln!(out, "  about {} tokens in all, in each session that lists them", count(total))?;
    for cost in costs.iter().filter(|cost| !cost.never_called.is_empty()) {
        let names: Vec<_> = cost.never_called.iter().map(|unused| unused.tool.as_str()).collect();
        writeln!(out, "{}", wrapped(&format!("{}: nobody called {}", cost.server, names.join(", ")), "  "))?;
    }
    match since {
        Some(since) => writeln!(out, "  (calls are recorded since {})", when(&since))?,
        None => writeln!(out, "  (no call is recorded yet)")?,
    }
    if costs.iter().any(|cost| cost.unknown) {
        writeln!(
            out,
            "  ?: nobody has listed its tools yet: `trunkline tools` does, and `trunkline why SERVER` says why it cannot"
        )?;
    }
    Ok(ExitCode::SUCCESS)
}
