//! Lays flags over environment over file over defaults, and remembers which layer won each key.
//!
//! Every value that a layer sets is checked on its own, so that an error names the key *and* the
//! layer. Unknown keys in the file are errors; unknown `LOGMILL_*` variables are warnings, because
//! Kubernetes injects some (`LOGMILL_PORT`) next to any service of that name.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    fmt, io,
    io::Read as _,
    net::SocketAddr,
    path::{Path, PathBuf},
};

use serde::{Deserialize as _, Serialize};
use toml::{Table, Value};

use super::{Config, suggest::nearest};
use crate::failpoint;
use crate::limits::CONFIG_FILE_BYTES_MAX;

const ENV_PREFIX: &str = "LOGMILL_";
const ENV_FILE: &str = "LOGMILL_CONFIG";
/// Not of the configuration: what `logmill import` shows to the server.
const ENV_TOKEN: &str = "LOGMILL_TOKEN";
const DEFAULT_FILE: &str = "logmill.toml";

/// The layer that an effective value came from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", content = "name", rename_all = "lowercase")]
pub enum Source {
    /// Compiled in.
    Default,
    /// The configuration file at this path.
    File(PathBuf),
    /// The environment variable of this name.
    Env(String),
    /// The command-line flag of this name, `--listen`.
    Flag(String),
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File(path) => write!(f, "file {}", path.display()),
            Self::Env(name) => write!(f, "environment {name}"),
            Self::Flag(name) => write!(f, "flag {name}"),
        }
    }
}

/// What the command line says about the configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Overrides {
    /// `--config`: the file to read.
    pub config: Option<PathBuf>,
    /// `--listen`
    pub listen: Option<SocketAddr>,
    /// `--admin-listen`
    pub admin_listen: Option<SocketAddr>,
    /// `--data-dir`
    pub data_dir: Option<PathBuf>,
    /// `--partitions`
    pub partitions: Option<u16>,
}

/// The configuration that a process runs with.
#[derive(Clone, Debug, PartialEq)]
pub struct Effective {
    /// The values; they passed [`Config::validate`].
    pub config: Config,
    /// Which layer set each dotted key. Holds every key.
    pub sources: BTreeMap<String, Source>,
    /// The file that was read, if there was one.
    pub file: Option<PathBuf>,
    /// What is to be logged once logging works.
    pub warnings: Vec<String>,
}

/// One key of an [`Effective`] configuration.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Entry {
    /// The dotted key, `server.listen`.
    pub key: String,
    /// Its value, as it would stand in the file.
    pub value: Value,
    /// The layer that set it.
    pub source: Source,
}

impl Effective {
    /// Every key with its value and source, by key.
    pub fn entries(&self) -> Result<Vec<Entry>, toml::ser::Error> {
        let values = flatten(&self.config)?.into_iter();
        let entries = values.map(|(key, value)| {
            let source = self.sources.get(&key).cloned().unwrap_or(Source::Default);
            Entry { key, value, source }
        });
        Ok(entries.collect())
    }
}

/// A setting that is unknown or not allowed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The dotted key as it was written.
    pub key: String,
    /// Its value, unless the key itself is the problem.
    pub value: Option<String>,
    /// The layer that set it.
    pub source: Source,
    /// What is wrong, and what would be right.
    pub reason: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.key)?;
        if let Some(value) = &self.value {
            write!(f, " = {value}")?;
        }
        write!(f, " ({}): {}", self.source, self.reason)
    }
}

/// Why there is no configuration to run with.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file that was asked for cannot be read.
    #[error("cannot read configuration file {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file is not TOML.
    #[error("configuration file {} is not valid TOML: {source}", path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// Line, column and reason.
        source: Box<toml::de::Error>,
    },
    /// Settings that are unknown or not allowed: all of them, not the first only.
    #[error("invalid configuration\n{}", lines(problems))]
    Invalid {
        /// At least one.
        problems: Vec<Problem>,
    },
}

fn lines(problems: &[Problem]) -> String {
    let lines: Vec<String> = problems.iter().map(|problem| format!("  {problem}")).collect();
    lines.join("\n")
}

/// Reads a configuration file; what [`load`] is given outside tests.
#[expect(clippy::disallowed_methods, reason = "read before there is a data directory or a Disk")]
pub fn read_file(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    let bytes =
        std::fs::File::open(path)?.take(CONFIG_FILE_BYTES_MAX + 1).read_to_string(&mut text)?;
    if u64::try_from(bytes).map_or(true, |bytes| bytes > CONFIG_FILE_BYTES_MAX) {
        let limit = format!("larger than {CONFIG_FILE_BYTES_MAX} bytes");
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, limit));
    }
    Ok(text)
}

/// Lays `flags` over `env` over the file over the defaults, and validates the result.
///
/// The file is `--config`, else `LOGMILL_CONFIG`, else `logmill.toml` in the working directory,
/// which alone may be missing. `env` is `std::env::vars_os()` and `read` is [`read_file`], except
/// in tests.
pub fn load(
    flags: &Overrides,
    env: impl IntoIterator<Item = (OsString, OsString)>,
    read: impl Fn(&Path) -> io::Result<String>,
) -> Result<Effective, ConfigError> {
    let mut layers = Layers::new();
    let env = layers.own_variables(env);
    let file = find_file(flags, &env, read)?;
    if let Some((path, table)) = &file {
        layers.add_file(path, table);
    }
    layers.add_env(&env);
    layers.add_flags(flags);
    layers.finish(file.map(|(path, _)| path))
}

fn find_file(
    flags: &Overrides,
    env: &BTreeMap<String, String>,
    read: impl Fn(&Path) -> io::Result<String>,
) -> Result<Option<(PathBuf, Table)>, ConfigError> {
    let asked = flags.config.clone().or_else(|| env.get(ENV_FILE).map(PathBuf::from));
    let required = asked.is_some();
    let path = asked.unwrap_or_else(|| PathBuf::from(DEFAULT_FILE));
    let text = match read(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound && !required => return Ok(None),
        Err(source) => return Err(ConfigError::Read { path, source }),
    };
    match text.parse::<Table>() {
        Ok(table) => Ok(Some((path, table))),
        Err(source) => Err(ConfigError::Syntax { path, source: Box::new(source) }),
    }
}

/// The section whose keys are names that users give.
const NAMED_BY_USERS: &str = "formats";

/// The values so far. Keys are dotted; `values` and `sources` always hold every key.
struct Layers {
    values: BTreeMap<String, Value>,
    sources: BTreeMap<String, Source>,
    problems: Vec<Problem>,
    warnings: Vec<String>,
}

impl Layers {
    fn new() -> Self {
        let values = flatten(&Config::default()).expect("the defaults are plain TOML");
        let sources = values.keys().map(|key| (key.clone(), Source::Default)).collect();
        Self { values, sources, problems: Vec::new(), warnings: Vec::new() }
    }

    /// The `LOGMILL_*` variables that say something. An empty one is how compose files and shells
    /// write "not set".
    fn own_variables(
        &mut self,
        env: impl IntoIterator<Item = (OsString, OsString)>,
    ) -> BTreeMap<String, String> {
        let mut own = BTreeMap::new();
        for (name, value) in env {
            let Ok(name) = name.into_string() else { continue };
            if !name.starts_with(ENV_PREFIX) {
                continue;
            }
            match value.into_string() {
                Ok(value) if value.is_empty() => {
                    self.warnings.push(format!("environment variable {name} is empty, ignored"));
                }
                Ok(value) => {
                    own.insert(name, value);
                }
                Err(_) => self.problems.push(Problem {
                    key: name.clone(),
                    value: None,
                    source: Source::Env(name),
                    reason: "is not valid UTF-8".to_owned(),
                }),
            }
        }
        own
    }

    fn add_file(&mut self, path: &Path, table: &Table) {
        let source = Source::File(path.to_owned());
        for (section, content) in table {
            let known = self.has_section(section) || section == NAMED_BY_USERS;
            match content {
                Value::Table(leaves) if known => {
                    for (leaf, value) in leaves {
                        self.set_or_refuse(&format!("{section}.{leaf}"), value.clone(), &source);
                    }
                }
                Value::Table(_) => {
                    let section = format!("[{section}]");
                    let sections: Vec<String> =
                        self.values.keys().map(|key| format!("[{}]", split(key).0)).collect();
                    let reason = unknown("section", nearest(&section, strs(&sections)));
                    self.problem(&section, None, &source, reason);
                }
                value if known => {
                    let reason = format!("is a section: write [{section}] above its keys");
                    self.problem(section, Some(value), &source, reason);
                }
                value => self.set_or_refuse(section, value.clone(), &source),
            }
        }
    }

    fn add_env(&mut self, env: &BTreeMap<String, String>) {
        let names: BTreeMap<String, String> =
            self.values.keys().map(|key| (variable(key), key.clone())).collect();
        let mut foreign = Vec::new();
        let is_setting =
            |name: &str| ![ENV_FILE, ENV_TOKEN].contains(&name) && !failpoint::owns_variable(name);
        for (name, text) in env.iter().filter(|(name, _)| is_setting(name)) {
            let Some(key) = names.get(name) else {
                match nearest(name, names.keys().map(String::as_str)) {
                    Some(meant) => self.warnings.push(format!(
                        "unknown environment variable {name} ignored, did you mean {meant}?"
                    )),
                    None => foreign.push(name.as_str()),
                }
                continue;
            };
            let source = Source::Env(name.clone());
            match typed_like(self.values.get(key), text) {
                Ok(value) => self.set(key, value, &source),
                Err(reason) => {
                    self.problem(key, Some(&Value::String(text.clone())), &source, reason);
                }
            }
        }
        if !foreign.is_empty() {
            let names = foreign.join(", ");
            self.warnings.push(format!("unknown environment variables ignored: {names}"));
        }
    }

    fn add_flags(&mut self, flags: &Overrides) {
        let flag = |name: &str| Source::Flag(name.to_owned());
        if let Some(listen) = flags.listen {
            self.set("server.listen", Value::String(listen.to_string()), &flag("--listen"));
        }
        if let Some(listen) = flags.admin_listen {
            let value = Value::String(listen.to_string());
            self.set("server.admin_listen", value, &flag("--admin-listen"));
        }
        if let Some(partitions) = flags.partitions {
            let partitions = Value::Integer(partitions.into());
            self.set("server.partitions", partitions, &flag("--partitions"));
        }
        match flags.data_dir.as_deref().map(|path| path.to_str().ok_or(path)) {
            Some(Ok(path)) => {
                self.set("server.data_dir", Value::String(path.to_owned()), &flag("--data-dir"));
            }
            Some(Err(path)) => {
                let value = Value::String(path.display().to_string());
                let reason = "is not valid UTF-8".to_owned();
                self.problem("server.data_dir", Some(&value), &flag("--data-dir"), reason);
            }
            None => {}
        }
    }

    fn finish(mut self, file: Option<PathBuf>) -> Result<Effective, ConfigError> {
        // Rules between keys say little while some keys still have the value of a lower layer.
        if self.problems.is_empty() {
            let config = Config::deserialize(unflatten(self.values))
                .expect("every value was accepted on its own");
            for invalid in config.validate() {
                let source = self.sources.get(&*invalid.key).cloned().unwrap_or(Source::Default);
                let (key, value) = (invalid.key.into_owned(), Some(invalid.value));
                self.problems.push(Problem { key, value, source, reason: invalid.allowed });
            }
            if self.problems.is_empty() {
                let (sources, warnings) = (self.sources, self.warnings);
                return Ok(Effective { config, sources, file, warnings });
            }
        }
        Err(ConfigError::Invalid { problems: self.problems })
    }

    fn set_or_refuse(&mut self, key: &str, value: Value, source: &Source) {
        if self.values.contains_key(key) || split(key).0 == NAMED_BY_USERS {
            self.set(key, value, source);
        } else {
            let reason = unknown("key", nearest(key, self.values.keys().map(String::as_str)));
            self.problem(key, None, source, reason);
        }
    }

    /// Takes a value of a known key if a configuration of this one value can be read.
    fn set(&mut self, key: &str, value: Value, source: &Source) {
        let alone = BTreeMap::from([(key.to_owned(), value.clone())]);
        match Config::deserialize(unflatten(alone)) {
            Ok(_) => {
                self.values.insert(key.to_owned(), value);
                self.sources.insert(key.to_owned(), source.clone());
            }
            Err(error) => self.problem(key, Some(&value), source, error.message().to_owned()),
        }
    }

    fn problem(&mut self, key: &str, value: Option<&Value>, source: &Source, reason: String) {
        let (key, value) = (key.to_owned(), value.map(plain));
        self.problems.push(Problem { key, value, source: source.clone(), reason });
    }

    fn has_section(&self, section: &str) -> bool {
        self.values.keys().any(|key| split(key).0 == section)
    }
}

fn unknown(what: &str, meant: Option<&str>) -> String {
    match meant {
        Some(meant) => format!("unknown {what}, did you mean {meant}?"),
        None => format!("unknown {what}; `logmill config show` lists every key"),
    }
}

/// `server.listen` → `LOGMILL_SERVER_LISTEN`
fn variable(key: &str) -> String {
    format!("{ENV_PREFIX}{}", key.replace('.', "_").to_uppercase())
}

/// A variable is text; its type is that of the value it replaces.
fn typed_like(like: Option<&Value>, text: &str) -> Result<Value, String> {
    let trimmed = text.trim();
    match like {
        Some(Value::Integer(_)) => {
            trimmed.parse().map(Value::Integer).map_err(|_| "must be a whole number".to_owned())
        }
        Some(Value::Boolean(_)) => {
            trimmed.parse().map(Value::Boolean).map_err(|_| "must be true or false".to_owned())
        }
        Some(Value::Array(_)) => match trimmed.parse() {
            Ok(list @ Value::Array(_)) => Ok(list),
            _ => Err("must be a list of TOML such as [\"/users/:id\"]".to_owned()),
        },
        Some(Value::Table(_)) => match trimmed.parse() {
            Ok(table @ Value::Table(_)) => Ok(table),
            _ => Err("must be an inline table of TOML such as { acme = 50 }".to_owned()),
        },
        _ => Ok(Value::String(trimmed.to_owned())),
    }
}

/// A value without the quotes of TOML.
pub(crate) fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

fn strs(texts: &[String]) -> impl Iterator<Item = &str> + Clone {
    texts.iter().map(String::as_str)
}

fn split(key: &str) -> (&str, &str) {
    key.split_once('.').unwrap_or((key, ""))
}

/// `{server: {listen: …}}` → `server.listen`
pub(crate) fn flatten(config: &Config) -> Result<BTreeMap<String, Value>, toml::ser::Error> {
    let mut flat = BTreeMap::new();
    for (section, content) in Table::try_from(config)? {
        if let Value::Table(leaves) = content {
            flat.extend(leaves.into_iter().map(|(leaf, v)| (format!("{section}.{leaf}"), v)));
        }
    }
    Ok(flat)
}

fn unflatten(flat: BTreeMap<String, Value>) -> Table {
    let mut table = Table::new();
    for (key, value) in flat {
        let (section, leaf) = split(&key);
        let entry = table.entry(section).or_insert_with(|| Value::Table(Table::new()));
        if let Value::Table(leaves) = entry {
            leaves.insert(leaf.to_owned(), value);
        }
    }
    table
}
