//! The layers, the rules, and that the documented settings are the real ones.

use std::{
    ffi::OsString,
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use super::{
    Config, ConfigError, Effective, Human, OnDuplicate, Overrides, Size, Source, layers::flatten,
    load, read_file,
};

const DOCUMENTED: &str = include_str!("../../config/logmill.toml");

fn loaded(
    flags: &Overrides,
    env: &[(&str, &str)],
    file: Option<&str>,
) -> Result<Effective, ConfigError> {
    let env = env.iter().map(|(name, value)| (OsString::from(name), OsString::from(value)));
    load(flags, env, |_| file.map(str::to_owned).ok_or_else(|| io::ErrorKind::NotFound.into()))
}

fn accepted(env: &[(&str, &str)], file: Option<&str>) -> Effective {
    loaded(&Overrides::default(), env, file).expect("a valid configuration")
}

fn refused(env: &[(&str, &str)], file: Option<&str>) -> String {
    loaded(&Overrides::default(), env, file).expect_err("an invalid configuration").to_string()
}

fn keys() -> Vec<String> {
    flatten(&Config::default()).expect("plain TOML").into_keys().collect()
}

#[test]
fn documented_file_is_the_default() {
    assert_eq!(toml::from_str::<Config>(DOCUMENTED).expect("TOML"), Config::default());
    assert_eq!(Config::default().validate(), []);
}

#[test]
fn every_key_is_documented() {
    let mut documented = Vec::new();
    let (mut section, mut above) = ("", "");
    for line in DOCUMENTED.lines() {
        if let Some(name) = line.strip_prefix('[') {
            section = name.trim_end_matches(']');
        } else if let Some((key, _)) = line.split_once(" = ")
            && !line.starts_with('#')
        {
            assert!(above.starts_with("# "), "no comment above {section}.{key}");
            documented.push(format!("{section}.{key}"));
        }
        above = line;
    }
    documented.sort_unstable();
    assert_eq!(documented, keys());
}

#[test]
fn readme_names_every_key() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md");
    let readme = read_file(&path).expect("README.md");
    let missing: Vec<String> =
        keys().into_iter().filter(|key| !readme.contains(&format!("`{key}`"))).collect();
    assert!(missing.is_empty(), "README.md does not name {missing:?}");
}

#[test]
fn without_any_layer_all_is_default() {
    let effective = accepted(&[("PATH", "/bin")], None);
    assert_eq!(effective.config, Config::default());
    assert_eq!(effective.sources.keys().cloned().collect::<Vec<_>>(), keys());
    assert!(effective.sources.values().all(|source| *source == Source::Default));
    assert_eq!((effective.file, effective.warnings), (None, vec![]));
}

#[test]
fn flags_over_environment_over_file() {
    let file = "[server]\nlisten = \"1.1.1.1:1\"\npartitions = 1\ndata_dir = \"file\"\n\
                [limits]\nbody_bytes = 4096";
    let env = [("LOGMILL_SERVER_LISTEN", "2.2.2.2:2"), ("LOGMILL_SERVER_PARTITIONS", " 2 ")];
    let flags = Overrides { listen: "3.3.3.3:3".parse().ok(), ..Overrides::default() };
    let effective = loaded(&flags, &env, Some(file)).expect("valid");

    let server = &effective.config.server;
    assert_eq!(server.listen.to_string(), "3.3.3.3:3");
    assert_eq!(server.partitions, 2);
    assert_eq!(server.data_dir, PathBuf::from("file"));
    assert_eq!(effective.config.limits.body_bytes, Size::kib(4));
    let source = |key: &str| effective.sources.get(key).map(ToString::to_string);
    assert_eq!(source("server.listen").as_deref(), Some("flag --listen"));
    assert_eq!(
        source("server.partitions").as_deref(),
        Some("environment LOGMILL_SERVER_PARTITIONS")
    );
    assert_eq!(source("server.data_dir").as_deref(), Some("file logmill.toml"));
    assert_eq!(source("log.level").as_deref(), Some("default"));
}

#[test]
fn every_key_has_a_variable() {
    for (key, value) in flatten(&Config::default()).expect("plain TOML") {
        let name = format!("LOGMILL_{}", key.replace('.', "_").to_uppercase());
        let value = super::layers::plain(&value);
        // An empty variable says nothing, so that a key with an empty default is given a value.
        let text = if value.is_empty() { "tokens.toml" } else { &value };
        let effective = accepted(&[(&name, text)], None);
        let changed = flatten(&effective.config).expect("plain TOML");
        assert_eq!(changed.get(&key).map(super::layers::plain).as_deref(), Some(text));
        assert_eq!(effective.sources.get(&key), Some(&Source::Env(name)));
    }
}

/// A table of customers is one key in every layer, and survives being shown.
#[test]
fn customer_shares_are_a_table() {
    let file = "[limits]\ncustomer_shares = { acme = 50, \"cus-2\" = 15 }";
    let section = "[limits.customer_shares]\nacme = 50\n\"cus-2\" = 15";
    let variable = [("LOGMILL_LIMITS_CUSTOMER_SHARES", " { acme = 50, \"cus-2\" = 15 } ")];
    let from_variable = accepted(&variable, Some("[limits]\ncustomer_shares = { other = 30 }"));
    let effective = [accepted(&[], Some(file)), accepted(&[], Some(section)), from_variable];
    for effective in effective {
        let shares = &effective.config.limits.customer_shares;
        let shares: Vec<_> = shares.iter().map(|(of, share)| (of.as_str(), *share)).collect();
        assert_eq!(shares, [("acme", 50), ("cus-2", 15)]);
        let entries = effective.entries().expect("plain TOML");
        let entry = entries.iter().find(|entry| entry.key == "limits.customer_shares");
        let shown = entry.expect("it is shown").value.to_string();
        assert_eq!(shown, "{ acme = 50, cus-2 = 15 }");
        let again = accepted(&[("LOGMILL_LIMITS_CUSTOMER_SHARES", &shown)], None).config;
        assert_eq!(again, effective.config);
    }
}

#[test]
fn the_file_asked_for_must_exist() {
    let flags = Overrides { config: Some("flag.toml".into()), ..Overrides::default() };
    let env = [("LOGMILL_CONFIG", "env.toml")];
    let error = loaded(&flags, &env, None).expect_err("no such file").to_string();
    assert!(error.contains("flag.toml"), "{error}");
    assert!(refused(&env, None).contains("env.toml"));
    let file = accepted(&env, Some("")).file;
    assert_eq!(file, Some(PathBuf::from("env.toml")));

    let denied = |_: &Path| Err(io::ErrorKind::PermissionDenied.into());
    assert!(load(&Overrides::default(), [], denied).is_err());
}

#[test]
fn unknown_keys_in_the_file_are_errors_with_a_hint() {
    for (file, hint) in [
        ("[limits]\nbody_byte = 1", "limits.body_byte (file logmill.toml): unknown key, did you"),
        ("[limits]\nbody_byte = 1", "did you mean limits.body_bytes?"),
        ("[limit]\nbody_bytes = 1", "did you mean [limits]?"),
        ("listen = \"0.0.0.0:80\"", "did you mean server.listen?"),
        ("[http]\nlisten = \"0.0.0.0:80\"", "did you mean server.listen?"),
        ("server = 3", "server = 3 (file logmill.toml): is a section"),
        ("[server.listen]\nport = 1", "server.listen = "),
        ("[colours]\nred = 1", "unknown section; `logmill config show`"),
        ("[server", "not valid TOML"),
    ] {
        let error = refused(&[], Some(file));
        assert!(error.contains(hint), "{hint}\n{error}");
    }
    let both = refused(&[("LOGMILL_LOG_FORMAT", "xml")], Some("[a]\n[b]"));
    assert_eq!(both.lines().count(), 4, "{both}");
}

#[test]
fn unknown_variables_are_warnings() {
    let env = [
        ("LOGMILL_PORT", "tcp://10.0.0.1:8080"),
        ("LOGMILL_SERVICE_HOST", "10.0.0.1"),
        ("LOGMILL_SERVER_LISTN", "0.0.0.0:80"),
        ("LOGMILL_LOG_LEVEL", ""),
    ];
    let warnings = accepted(&env, None).warnings.join("\n");
    assert!(warnings.contains("ignored: LOGMILL_PORT, LOGMILL_SERVICE_HOST"), "{warnings}");
    assert!(warnings.contains("did you mean LOGMILL_SERVER_LISTEN?"), "{warnings}");
    assert!(warnings.contains("LOGMILL_LOG_LEVEL is empty, ignored"), "{warnings}");
    assert!(!warnings.contains("10.0.0.1"), "{warnings}");
}

#[test]
fn wrong_types_name_key_value_and_layer() {
    for (name, value, reason) in [
        ("LOGMILL_SERVER_PARTITIONS", "many", "must be a whole number"),
        ("LOGMILL_SERVER_PARTITIONS", "-1", "expected u16"),
        ("LOGMILL_CHECKPOINT_INTERVAL", "60", "is not a duration such as"),
        ("LOGMILL_LIMITS_BODY_BYTES", "2 miles", "is not a size such as"),
        ("LOGMILL_SERVER_LISTEN", "localhost", "socket address"),
        ("LOGMILL_IDEMPOTENCY_ON_DUPLICATE", "ignore", "expected `conflict` or `replay`"),
        ("LOGMILL_LIMITS_CUSTOMER_SHARES", "acme=50", "must be an inline table of TOML"),
        ("LOGMILL_LIMITS_CUSTOMER_SHARES", "{ a = 1 }\nb = 2", "must be an inline table"),
        ("LOGMILL_LIMITS_CUSTOMER_SHARES", "{ .a = 50 }", "must be an inline table of TOML"),
    ] {
        let error = refused(&[(name, value)], None);
        assert!(error.contains(&format!(" = {value} (environment {name}): ")), "{error}");
        assert!(error.contains(reason), "{reason}\n{error}");
    }
    let error = refused(&[], Some("[checkpoint]\ninterval = 60"));
    assert!(error.contains("expected a duration such as"), "{error}");
}

#[test]
fn rules_name_what_is_allowed() {
    for (file, rule) in [
        ("[server]\npartitions = 65", "server.partitions = 65 (file logmill.toml): must be from 0"),
        (
            "[limits]\nbody_bytes = \"17MiB\"",
            "= 17MiB (file logmill.toml): must be from 1KiB to 16",
        ),
        ("[limits]\nbody_bytes = 1023", "= 1023B (file logmill.toml): must be from 1KiB"),
        ("[limits]\ncustomer_share_percent = 0", "must be from 1 to 100"),
        ("[limits]\ninflight_bytes = \"7MiB\"", "at least 8MiB, 4 times limits.body_bytes"),
        ("[limits]\ncustomer_share_percent = 1", "must hold 3 times limits.body_bytes"),
        (
            "[limits]\ncustomer_shares = { a = 0 }",
            "{ \"a\" = 0 } (file logmill.toml): must be from 1",
        ),
        (
            "[limits]\ncustomer_shares = { a = 101 }",
            "= { \"a\" = 101 } (file logmill.toml): must be",
        ),
        ("[limits]\ncustomer_shares = { a = 256 }", "integer `256`, expected u8"),
        (
            "[limits]\ncustomer_shares = { a = 9 }",
            "{ \"a\" = 9 } (file logmill.toml): its share of",
        ),
        ("[limits]\ncustomer_shares = { \"a/b\" = 9 }", "the customer id \"a/b\" may hold"),
        ("[limits]\ninflight_batches = 2", "limits.inflight_batches one batch"),
        ("[limits]\njournal_bytes = \"128MiB\"", "checkpoint.journal_bytes = 256MiB (default): "),
        ("[retention]\nhours = \"80d\"", "must be at least retention.minutes, 90d"),
        ("[http]\nbody_timeout = \"0s\"", "must be from 1s to 1h"),
        ("[log]\nlevel = \"logmill=loud\"", "must be a log filter"),
        ("[server]\ndata_dir = \"\"", "must name a directory"),
    ] {
        let error = refused(&[], Some(file));
        assert!(error.contains(rule), "{rule}\n{error}");
    }
}

#[test]
fn values_are_written_as_people_write_them() {
    for (size, text) in [
        (Size::mib(2), "2MiB"),
        (Size::gib(2), "2GiB"),
        (Size::new(1_500_000), "1500000B"),
        (Size::new(1536), "1536B"),
        (Size::new(0), "0B"),
    ] {
        assert_eq!(size.to_string(), text);
        assert_eq!(text.parse(), Ok(size));
    }
    assert_eq!("2MB".parse(), Ok(Size::new(2_000_000)));
    for (duration, text) in [
        (Duration::from_secs(60), "1m"),
        (Duration::from_secs(90), "90s"),
        (Duration::from_millis(1500), "1500ms"),
        (Config::default().retention.hours, "730d"),
        (Duration::ZERO, "0s"),
    ] {
        assert_eq!(Human(duration).to_string(), text);
    }
    let config = Config {
        idempotency: super::Idempotency {
            on_duplicate: OnDuplicate::Replay,
            retention: Duration::from_nanos(1),
            ..Config::default().idempotency
        },
        ..Config::default()
    };
    let text = toml::to_string(&config).expect("plain TOML");
    assert!(text.contains("minutes = \"90d\""), "{text}");
    assert_eq!(toml::from_str::<Config>(&text).expect("TOML"), config);
}
