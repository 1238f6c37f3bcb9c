//! Configuration files: whatever is in one, it is refused in words or it can be shown and read.

use std::path::PathBuf;

use toml::{Table, Value};

use super::Taken;
use crate::config::{self, Effective, Overrides};

/// A file is refused with reasons, or what `config show` prints of it loads as the same values.
pub fn config(text: &[u8]) -> Taken {
    let Ok(text) = std::str::from_utf8(text) else { return false };
    match load(text) {
        Err(reason) => {
            assert!(!reason.is_empty());
            false
        }
        Ok(effective) => {
            assert_eq!(effective.config.validate(), [], "what is taken keeps all rules");
            let shown = shown(&effective);
            let again = load(&shown).unwrap_or_else(|error| panic!("{shown}\n{error}"));
            assert_eq!(again.config, effective.config, "{shown}");
            true
        }
    }
}

fn load(text: &str) -> Result<Effective, String> {
    let flags = Overrides { config: Some(PathBuf::from("fuzzed.toml")), ..Overrides::default() };
    config::load(&flags, [], |_| Ok(text.to_owned())).map_err(|error| error.to_string())
}

/// The effective values as a file.
fn shown(effective: &Effective) -> String {
    let mut file = Table::new();
    for entry in effective.entries().expect("plain TOML") {
        let (section, key) = entry.key.split_once('.').expect("keys are dotted");
        let section = file.entry(section).or_insert_with(|| Value::Table(Table::new()));
        section.as_table_mut().expect("a section").insert(key.to_owned(), entry.value);
    }
    file.to_string()
}
