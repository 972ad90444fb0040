//! What is known of a server that does not run.

use std::fs;
use std::time::Instant;

use crate::support::{Daemon, eventually, modern, own_server, text_of};

const LIST: &str = r#"{"jsonrpc":"2.0","id":"l","method":"tools/list"}"#;

#[test]
fn a_stopped_server_is_attached_to_and_listed_at_once() {
    let config = own_server("slow", &["--slow=2000"]);
    let daemon = Daemon::start(&config);
    let attach = |daemon: &Daemon| {
        let begun = Instant::now();
        let mut agent = daemon.agent("slow");
        let list = agent.ask(LIST);
        assert!(list.contains("echo"), "{list}");
        (begun.elapsed(), list, agent)
    };
    let (cold, first, agent) = attach(&daemon);
    drop(agent);
    let daemon = Daemon::start_in(daemon.restart());
    assert_eq!(daemon.server("slow")["state"], "idle");
    let (warm, second, mut agent) = attach(&daemon);
    let result = |answer: &str| {
        answer.split(r#""tools":"#).nth(1).and_then(|rest| rest.split(r#"}]"#).next().map(str::to_owned))
    };
    assert_eq!(result(&first), result(&second), "the same bytes");
    // What it must do, as a ratio: the cold one takes the server's two seconds.
    eprintln!("attach and list: {cold:?} cold, {warm:?} from the catalog");
    assert!(warm * 50 < cold, "{warm:?} from the catalog, {cold:?} cold");
    // It is looked at again in the background; a call finds it up, or waits for it.
    assert!(text_of(&agent.call("1", "echo", "{}")).contains("echo"));
    assert_eq!(daemon.server("slow")["starts"], 1);
}

#[test]
fn what_changed_meanwhile_is_announced() {
    let names = tempfile::NamedTempFile::new().expect("a file");
    fs::write(&names, "old").expect("written");
    let daemon = Daemon::start(&own_server("t", &["--slow=500", &format!("--tools-in={}", names.path().display())]));
    assert!(daemon.agent("t").ask(LIST).contains("old"));
    assert!(daemon.agent_of_all().ask(LIST).contains("t__old"));
    let daemon = Daemon::start_in(daemon.restart());
    fs::write(&names, "new").expect("written");
    let (mut one, mut all) = (daemon.agent("t"), daemon.agent_of_all());
    for agent in [&mut one, &mut all] {
        let list = agent.ask(LIST);
        assert!(list.contains("old") && !list.contains("new"), "{list}");
    }
    for agent in [&mut one, &mut all] {
        agent.until(|line| line.contains("notifications/tools/list_changed"));
        assert!(agent.ask(LIST).contains("new"));
    }
}

#[test]
fn modern_lists_are_kept_for_as_long_as_the_server_says() {
    let daemon =
        Daemon::start(&(own_server("kept", &["--modern", "--ttl=600000"]) + &own_server("never", &["--modern"])));
    for server in ["kept", "never"] {
        let mut agent = daemon.attach(server);
        agent.ask(&modern("1", "server/discover", ""));
        assert!(agent.ask(&modern("2", "tools/list", "")).contains("echo"));
    }
    let daemon = Daemon::start_in(daemon.restart());
    let mut kept = daemon.attach("kept");
    assert!(kept.ask(&modern("1", "server/discover", "")).contains("supportedVersions"));
    let list = kept.ask(&modern("2", "tools/list", ""));
    let left = list.split(r#""ttlMs":"#).nth(1).and_then(|rest| rest.split([',', '}']).next()?.parse::<u64>().ok());
    assert!(left.is_some_and(|left| left < 600_000), "what is left of its time: {list}");
    let mut never = daemon.attach("never");
    assert!(never.ask(&modern("2", "tools/list", "")).contains(r#""ttlMs":0"#));
    assert_eq!(daemon.server("never")["state"], "ready", "it had to be asked");
}

#[test]
fn a_catalog_that_is_corrupt_or_of_another_command_is_not_trusted() {
    let daemon = Daemon::start(&own_server("t", &[]));
    daemon.agent("t").ask(LIST);
    let file = daemon.folder().join("state/catalogs/t.json");
    eventually("it is kept", || file.exists());
    let folder = daemon.restart();
    fs::write(&file, "{\"form\":1,").expect("written");
    let daemon = Daemon::start_in(folder);
    assert!(file.with_extension("rejected").exists() && daemon.log().contains("catalog set aside"));
    assert!(daemon.agent("t").ask(LIST).contains("echo"));
    let folder = daemon.restart();
    fs::write(folder.path().join("config.toml"), own_server("t", &["--tool=other"])).expect("written");
    let daemon = Daemon::start_in(folder);
    assert!(daemon.agent("t").ask(LIST).contains("other"), "another command's offer is not this one's");
}
