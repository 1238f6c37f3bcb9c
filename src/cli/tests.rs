//! What each command line means.

use std::{ffi::OsString, io, path::Path};

use clap::{CommandFactory as _, error::ErrorKind};

use super::{
    Cli, Command, ConfigCommand, Exit, HealthcheckArgs, Invocation,
    config::{check, show},
    parse,
};
use crate::config::{ConfigError, Effective, Overrides, load};

fn line(text: &str) -> Result<Invocation, clap::Error> {
    parse(std::iter::once("logmill").chain(text.split_whitespace()).map(OsString::from))
}

fn parsed(text: &str) -> Invocation {
    line(text).expect("a valid command line")
}

fn refused(text: &str) -> clap::Error {
    line(text).expect_err("an invalid command line")
}

#[test]
fn definition_is_consistent() {
    Cli::command().debug_assert();
}

#[test]
fn serve_is_the_default() {
    assert_eq!(parsed("").command, Command::Serve { repair: false });
    for text in ["--listen 0.0.0.0:80 --repair", "serve --listen 0.0.0.0:80 --repair"] {
        let Invocation { overrides, command } = parsed(text);
        assert_eq!(command, Command::Serve { repair: true }, "{text}");
        assert_eq!(overrides.listen, "0.0.0.0:80".parse().ok(), "{text}");
    }
    let all = parsed("serve --data-dir d --partitions 7 --config f.toml").overrides;
    let (config, data_dir) = (Some("f.toml".into()), Some("d".into()));
    assert_eq!(
        all,
        Overrides { config, listen: None, admin_listen: None, data_dir, partitions: Some(7) }
    );
}

#[test]
fn config_file_stands_anywhere() {
    for text in ["--config f.toml config check", "config --config f.toml check"] {
        let Invocation { overrides, command } = parsed(text);
        assert_eq!(command, Command::Config(ConfigCommand::Check), "{text}");
        assert_eq!(overrides.config.as_deref(), Some(Path::new("f.toml")), "{text}");
    }
    let shown = parsed("--listen [::]:80 config show --json");
    assert_eq!(shown.command, Command::Config(ConfigCommand::Show { json: true }));
    assert_eq!(shown.overrides.listen, "[::]:80".parse().ok());
}

#[test]
fn import_and_healthcheck() {
    let Command::Import(args) = parsed("import a.log b.log.gz - --customer acme").command else {
        panic!("not an import");
    };
    assert_eq!(args.files.len(), 3);
    assert_eq!((args.customer.as_str(), args.state), ("acme", None));
    assert_eq!((args.url, args.follow), (None, false));
    let Command::Import(args) = parsed("import --follow a --customer c --token s3cret").command
    else {
        panic!("not an import");
    };
    assert!(args.follow);
    assert!(!format!("{args:?}").contains("s3cret"), "a token is not shown");

    let asked = parsed("healthcheck --url https://logs.example:8443/").command;
    let url = Some("https://logs.example:8443".to_owned());
    assert_eq!(asked, Command::Healthcheck(HealthcheckArgs { url }));
}

#[test]
fn wrong_usage_ends_with_2() {
    for text in [
        "--listen nowhere",
        "--partitions -1",
        "--partitions 70000",
        "import --customer acme",
        "import a.log",
        "import a.log --customer acme --url ftp://x",
        "import a.log --customer acme --token s\u{e9}cret",
        "import a.log --customer acme --url 127.0.0.1:8080",
        "--listen 0.0.0.0:80 serve",
        "--repair import a.log --customer acme",
        "--data-dir d healthcheck",
        "config",
        "serve extra",
        "unknown",
    ] {
        assert_eq!(refused(text).exit_code(), 2, "{text}");
    }
    assert_eq!(refused("--version").kind(), ErrorKind::DisplayVersion);
    assert_eq!(refused("--help").exit_code(), 0);
}

#[test]
fn every_command_has_help_within_100_columns() {
    for command in ["", "serve", "demo", "import", "config", "healthcheck"] {
        let text = &format!("{command} --help");
        let help = refused(text).to_string();
        assert!(help.contains("Usage: logmill"), "{help}");
        assert!(help.lines().all(|line| line.len() <= 100), "{help}");
    }
}

fn loaded(file: Option<&str>) -> Result<Effective, ConfigError> {
    let env = [(OsString::from("LOGMILL_LOG_LEVEL"), OsString::from("debug"))];
    let flags = Overrides { partitions: Some(2), ..Overrides::default() };
    load(&flags, env, |_| file.map(str::to_owned).ok_or_else(|| io::ErrorKind::NotFound.into()))
}

fn shown(json: bool) -> String {
    let effective = loaded(Some("[windows]\ngrace = \"5m\"")).expect("a valid configuration");
    let mut out = Vec::new();
    assert_eq!(show(&effective, json, &mut out).expect("a Vec takes all"), Exit::Ok);
    String::from_utf8(out).expect("text")
}

#[test]
fn show_aligns_values_and_sources() {
    let text = shown(false);
    assert!(text.contains("log.level "), "{text}");
    let column = |needle: &str| {
        let line = text.lines().find(|line| line.contains(needle)).expect("a line of that source");
        line.find(needle)
    };
    let first = column("environment LOGMILL_LOG_LEVEL");
    assert_eq!(column("flag --partitions"), first, "{text}");
    assert_eq!(column("file logmill.toml"), first, "{text}");
    assert!(text.lines().all(|line| line.find("default").is_none_or(|at| Some(at) == first)));
}

#[test]
fn show_json_is_typed() {
    let entries: Vec<serde_json::Value> = serde_json::from_str(&shown(true)).expect("JSON");
    let of = |key: &str| entries.iter().find(|entry| entry["key"] == key).expect("every key");
    assert_eq!(of("server.partitions")["value"], 2);
    assert_eq!(of("server.partitions")["source"]["name"], "--partitions");
    assert_eq!(of("windows.grace")["value"], "5m");
    assert_eq!(of("windows.grace")["source"]["kind"], "file");
    assert_eq!(of("server.listen")["source"]["kind"], "default");
}

#[test]
fn check_says_what_is_wrong() {
    let mut out = Vec::new();
    let exit = check(&loaded(Some("[limits]\nbody_byte = 1")), &mut out).expect("a Vec takes all");
    let text = String::from_utf8_lossy(&out);
    assert_eq!(exit, Exit::Usage);
    assert!(text.contains("limits.body_byte (file logmill.toml): unknown key"), "{text}");
    assert!(text.contains("did you mean limits.body_bytes?"), "{text}");

    let mut out = Vec::new();
    assert_eq!(check(&loaded(None), &mut out).expect("a Vec takes all"), Exit::Ok);
    assert_eq!(String::from_utf8_lossy(&out), "ok: no configuration file\n");
}
