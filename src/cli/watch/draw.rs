//! The page, drawn: useful from 80 columns and 24 lines on, and less of it below that.

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Borders, Clear, Paragraph, Row, Table, TableState, Wrap};

use crate::cli::calls::{ended, when};
use crate::cli::figures::{age, count, memory, size, took};
use crate::cli::watch::page::{Page, Pane};
use crate::cli::watch::steps::Over;
use crate::control::{ServerStatus, SessionStatus};
use crate::record::{CallShape, subject_shown};
use crate::shown;

/// How many lines the lists of servers and agents may take, with their frames.
const SERVERS: u16 = 10;
const AGENTS: u16 = 7;

/// From how many columns on there is room for what is wrong with a server.
const WIDE: u16 = 110;

const HELP: &str = "\
Tab            the next list: servers, agents, calls
up, down       choose a line (also j, k, Page, Home, End)
Enter          of a server: its standard error; of an agent: its
               calls; of a call: all that is known of it
e              the standard error of the server
r, s, l        restart, stop or start, log in; asks first
/              filter all lists by what you type; Esc: all again
u              ask the daemon again
q              leave";

pub(super) fn draw(frame: &mut Frame<'_>, page: &Page) {
    let rows = |count: usize, most: u16| u16::try_from(count).unwrap_or(most).saturating_add(3).min(most);
    let servers = rows(page.servers().len().max(1), SERVERS);
    let agents = rows(page.agents().len().max(1), AGENTS);
    let areas = Layout::vertical([
        Constraint::Length(1),
        Constraint::Length(servers),
        Constraint::Length(agents),
        Constraint::Min(4),
        Constraint::Length(1),
    ])
    .split(frame.area());
    frame.render_widget(Paragraph::new(head(page)), areas[0]);
    draw_servers(frame, page, areas[1]);
    draw_agents(frame, page, areas[2]);
    draw_calls(frame, page, areas[3]);
    frame.render_widget(Paragraph::new(foot(page)), areas[4]);
    draw_over(frame, page);
}

fn head(page: &Page) -> Line<'static> {
    let status = &page.status;
    let calls: u64 = status.servers.iter().map(|server| server.calls).sum();
    let failures: u64 = status.servers.iter().map(|server| server.failures).sum();
    let text = format!(
        " trunkline  {} servers  {} agents  {} calls this hour, {} failed  {}",
        status.servers.len(),
        status.sessions.len(),
        count(calls),
        count(failures),
        memory(status.memory.used),
    );
    Line::styled(text, Style::new().add_modifier(Modifier::BOLD))
}

fn foot(page: &Page) -> Line<'static> {
    if page.typing {
        return Line::from(format!(" filter: {}_   (Enter keeps it, Esc drops it)", shown::line(&page.filter)));
    }
    if let Some(message) = &page.message {
        return Line::styled(format!(" {}", shown::line(message)), Style::new().fg(Color::Yellow));
    }
    let dim = Style::new().add_modifier(Modifier::DIM);
    if page.over != Over::Nothing {
        return Line::styled(" Esc: back", dim);
    }
    if !page.filter.is_empty() {
        let text = format!(" only what has `{}` in it; Esc shows all, / changes it", shown::line(&page.filter));
        return Line::styled(text, Style::new().fg(Color::Yellow));
    }
    // What is wrong with the server that is chosen, for which a line of the list has no room.
    if let Some((name, trouble)) = page.trouble() {
        return Line::styled(format!(" {}: {}", shown::line(name), shown::line(trouble)), Style::new().fg(Color::Red));
    }
    Line::styled(" ? help  q quit  Tab next  Enter open  / filter  e stderr  r restart  s stop  l login", dim)
}

fn block(page: &Page, pane: Pane, title: String) -> Block<'static> {
    let focused = page.pane == pane && page.over == Over::Nothing;
    let style = if focused { Style::new().fg(Color::Cyan) } else { Style::new().add_modifier(Modifier::DIM) };
    Block::new().borders(Borders::ALL).border_style(style).title(title)
}

fn list<'r>(
    frame: &mut Frame<'_>,
    page: &Page,
    (pane, title): (Pane, String),
    (heads, widths): (&[&'static str], &[Constraint]),
    rows: impl IntoIterator<Item = Row<'r>>,
    area: Rect,
) {
    let heads = Row::new(heads.iter().copied()).style(Style::new().add_modifier(Modifier::DIM));
    let chosen = if page.pane == pane { Style::new().add_modifier(Modifier::REVERSED) } else { Style::new() };
    let table = Table::new(rows, widths.iter().copied())
        .header(heads)
        .block(block(page, pane, title))
        .row_highlight_style(chosen);
    let mut state = TableState::new().with_selected(Some(page.chosen(pane)));
    frame.render_stateful_widget(table, area, &mut state);
}

fn colour(state: &str) -> Style {
    match state {
        "ready" => Style::new().fg(Color::Green),
        "broken" | "failed" | "misconfigured" => Style::new().fg(Color::Red),
        "needs_login" | "backoff" | "starting" | "draining" => Style::new().fg(Color::Yellow),
        _ => Style::new().add_modifier(Modifier::DIM),
    }
}

/// A text of others, in one line.
fn text(text: &str) -> String {
    shown::line(text).into_owned()
}

fn some(number: u64) -> String {
    if number == 0 { "-".to_owned() } else { count(number) }
}

fn draw_servers(frame: &mut Frame<'_>, page: &Page, area: Rect) {
    let row = |server: &&ServerStatus| {
        Row::new([
            Span::raw(text(&server.name)),
            Span::styled(server.state.clone(), colour(&server.state)),
            Span::raw(server.since.map_or("-".to_owned(), age)),
            Span::raw(some(server.calls)),
            Span::styled(some(server.failures), if server.failures > 0 { colour("failed") } else { Style::new() }),
            Span::raw(some(server.in_flight() as u64)),
            Span::raw(server.memory().map_or("-".to_owned(), memory)),
            Span::raw(some(server.agents() as u64)),
            Span::raw(text(server.last_error.as_deref().unwrap_or_default())),
        ])
    };
    let widths = [
        Constraint::Min(10),
        Constraint::Length(12),
        Constraint::Length(6),
        Constraint::Length(7),
        Constraint::Length(6),
        Constraint::Length(4),
        Constraint::Length(9),
        Constraint::Length(6),
        Constraint::Max(if area.width > WIDE { area.width / 3 } else { 0 }),
    ];
    let heads = ["SERVER", "STATE", "SINCE", "CALLS/H", "FAILED", "OPEN", "MEMORY", "AGENTS", "TROUBLE"];
    let servers = page.servers();
    let title = format!(" Servers {} ", servers.len());
    list(frame, page, (Pane::Servers, title), (&heads, &widths), servers.iter().map(row), area);
}

fn draw_agents(frame: &mut Frame<'_>, page: &Page, area: Rect) {
    let row = |agent: &&SessionStatus| {
        let of = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".to_owned());
        let folder = agent.project.as_ref().map_or("-".to_owned(), |folder| folder.display().to_string());
        Row::new([
            text(&of(&agent.name)),
            agent.session.to_string(),
            agent.pid.map_or("-".to_owned(), |pid| pid.to_string()),
            agent.server.clone().or_else(|| agent.profile.clone()).unwrap_or_else(|| "(all)".to_owned()),
            age(agent.age),
            some(agent.in_flight as u64),
            text(&folder),
        ])
    };
    let widths = [
        Constraint::Max(20),
        Constraint::Length(7),
        Constraint::Length(8),
        Constraint::Max(14),
        Constraint::Length(6),
        Constraint::Length(4),
        Constraint::Min(8),
    ];
    let heads = ["AGENT", "SESSION", "PROCESS", "SERVER", "AGE", "OPEN", "FOLDER"];
    let agents = page.agents();
    let title = format!(" Agents {} ", agents.len());
    list(frame, page, (Pane::Agents, title), (&heads, &widths), agents.iter().map(row), area);
}

fn draw_calls(frame: &mut Frame<'_>, page: &Page, area: Rect) {
    let row = |call: &&CallShape| {
        let agent = call.agent.name.clone().unwrap_or_else(|| format!("session {}", call.session));
        Row::new([
            Span::raw(when(&call.at)),
            Span::raw(text(&agent)),
            Span::raw(text(&call.server)),
            Span::raw(subject_shown(&call.method, call.subject.as_deref())),
            Span::raw(took(call.took_ms)),
            Span::raw(size(call.received)),
            Span::styled(ended(call), if call.failed { colour("failed") } else { Style::new() }),
        ])
    };
    let widths = [
        Constraint::Length(11),
        Constraint::Min(8),
        Constraint::Min(8),
        Constraint::Min(14),
        Constraint::Length(7),
        Constraint::Length(7),
        Constraint::Length(13),
    ];
    let heads = ["WHEN", "AGENT", "SERVER", "WHAT", "TOOK", "ANSWER", "ENDED"];
    let calls = page.shown_calls();
    let open = page.under_way();
    let at_work = if open.is_empty() { String::new() } else { format!("- under way: {} ", open.join(", ")) };
    let title = format!(" Calls {} {at_work}", calls.len());
    list(frame, page, (Pane::Calls, title), (&heads, &widths), calls.iter().map(row), area);
}

/// What is over the lists.
fn draw_over(frame: &mut Frame<'_>, page: &Page) {
    let whole = frame.area();
    match &page.over {
        Over::Nothing => {}
        Over::Help => boxed(frame, centred(whole, 70, 13), " Keys ", HELP.lines().map(Line::from).collect(), 0),
        Over::Confirm(step, server) => {
            let text = vec![Line::from(text(&step.question(server))), Line::from("y: yes    any other key: no")];
            boxed(frame, centred(whole, 60, 4), " Sure? ", text, 0);
        }
        Over::Call(key) => {
            let lines = page.call(key).map(details).unwrap_or_default();
            boxed(frame, centred(whole, 76, 16), " Call ", lines, 0);
        }
        Over::Log(server) => {
            let area = Rect { y: whole.y + 1, height: whole.height.saturating_sub(2), ..whole };
            let room = usize::from(area.height.saturating_sub(2));
            let end = page.lines.len().saturating_sub(page.scrolled.min(page.lines.len().saturating_sub(room)));
            let lines = page.lines.iter().take(end).skip(end.saturating_sub(room));
            let lines = lines.map(|line| Line::from(text(line))).collect();
            boxed(frame, area, &format!(" {} writes to standard error (Esc: back) ", text(server)), lines, 0);
        }
    }
}

fn boxed(frame: &mut Frame<'_>, area: Rect, title: &str, lines: Vec<Line<'_>>, scrolled: u16) {
    frame.render_widget(Clear, area);
    let block = Block::new().borders(Borders::ALL).border_style(Style::new().fg(Color::Cyan)).title(title.to_owned());
    let text = Paragraph::new(lines).block(block).wrap(Wrap { trim: false }).scroll((scrolled, 0));
    frame.render_widget(text, area);
}

fn centred(whole: Rect, width: u16, height: u16) -> Rect {
    let (width, height) = (width.min(whole.width), height.min(whole.height));
    Rect { x: whole.x + (whole.width - width) / 2, y: whole.y + (whole.height - height) / 2, width, height }
}

fn details(call: &CallShape) -> Vec<Line<'static>> {
    let agent = &call.agent;
    let mut lines = Vec::new();
    let mut row = |name: &str, value: String| lines.push(Line::from(format!("{name:<10} {}", text(&value))));
    row("when", call.at.clone());
    let process = agent.pid.map(|pid| format!(", process {pid}")).unwrap_or_default();
    row("agent", format!("{}{process}, session {}", agent.name.as_deref().unwrap_or("-"), call.session));
    if let Some(folder) = &agent.folder {
        row("folder", folder.clone());
    }
    row("server", call.server.clone());
    row("what", subject_shown(&call.method, call.subject.as_deref()));
    row("ended", ended(call));
    row("took", took(call.took_ms));
    row("request", size(call.sent));
    row("answer", format!("{}, about {} tokens", size(call.received), call.tokens));
    for asked in &call.asked {
        row("asked", format!("{}: {}", asked.method, asked.ended.as_deref().unwrap_or("no answer")));
    }
    if let Some(id) = call.id {
        row("more", format!("trunkline calls show {id}"));
    }
    lines
}

#[cfg(test)]
mod tests {
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;

    use super::*;
    use crate::cli::watch::page::tests::page;

    fn drawn(page: &Page, width: u16, height: u16) -> String {
        let mut terminal = Terminal::new(TestBackend::new(width, height)).expect("a terminal");
        terminal.draw(|frame| draw(frame, page)).expect("drawn");
        terminal.backend().to_string()
    }

    #[test]
    fn everything_is_there_at_80_by_24() {
        let text = drawn(&page(), 80, 24);
        for word in ["trunkline", "time", "ready", "stopped", "codex", "tool2", "1.5ms", "result", "q quit"] {
            assert!(text.contains(word), "{word} in\n{text}");
        }
        assert!(!text.contains('\u{1b}') && !text.contains('\u{202e}'), "{text}");
    }

    #[test]
    fn a_small_terminal_and_what_is_over_the_lists_are_no_trouble() {
        let mut page = page();
        for over in [Over::Nothing, Over::Help, Over::Log("time".to_owned())] {
            page.over = over;
            for (width, height) in [(1, 1), (20, 5), (40, 10), (300, 80)] {
                drawn(&page, width, height);
            }
        }
        page.add_line("boom \u{1b}[31m".to_owned());
        assert!(drawn(&page, 80, 24).contains("boom \\u{1b}[31m"));
    }
}
