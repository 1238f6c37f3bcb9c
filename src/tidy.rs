//! What lints cannot see, as tests: which module may know which, how long files are, that every
//! invariant has its place in code and tests, and that the documentation names what there is.

#![expect(clippy::disallowed_methods, reason = "reads the sources, outside of any engine")]

mod deploy;

use std::fs;
use std::path::{Path, PathBuf};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: impl AsRef<Path>) -> String {
    let path = root().join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Every Rust file below a folder, with its text.
fn sources(folder: &str) -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    let mut folders = vec![root().join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("the folder is there") {
            let path = entry.expect("readable").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = read(&path);
                found.push((path.strip_prefix(root()).expect("below").to_path_buf(), text));
            }
        }
    }
    found
}

/// Modules of the crate that a source names outside of comments, as in `crate::store`.
fn named_modules(text: &str) -> impl Iterator<Item = &str> {
    let code = text.lines().filter(|line| !line.trim_start().starts_with("//"));
    code.flat_map(|line| line.split("crate::").skip(1))
        .filter_map(|rest| rest.split(|c: char| !c.is_ascii_lowercase() && c != '_').next())
        .filter(|module| !module.is_empty())
}

/// The pure core asks nobody for time, files or threads; the pipeline does not know the edge.
#[test]
fn modules_know_only_what_is_below_them() {
    const WORDS: &[&str] =
        &["counts", "fields", "ids", "limits", "minutes", "names", "responses", "window"];
    const CORE: &[&str] = &[
        "dead_letters",
        "decode",
        "delta",
        "entry",
        "insight",
        "partition",
        "paths",
        "user_agent",
    ];
    const EDGE: &[&str] = &[
        "admission",
        "cli",
        "client",
        "config",
        "control",
        "dashboard",
        "http",
        "import",
        "loadgen",
        "prometheus",
        "query",
        "service",
        "tokens",
        "view",
    ];
    for (path, text) in sources("src") {
        let file = path.strip_prefix("src").expect("below src");
        let module = file.iter().next().and_then(|part| part.to_str()).unwrap_or_default();
        let module = module.trim_end_matches(".rs");
        let is_test = path.ends_with("tests.rs") || path.iter().any(|part| part == "tests");
        for named in named_modules(&text) {
            let below_core = WORDS.contains(&named) || CORE.contains(&named);
            let fine = if named == module || is_test {
                true
            } else if WORDS.contains(&module) {
                WORDS.contains(&named)
            } else if CORE.contains(&module) {
                below_core
            } else if EDGE.contains(&module)
                || matches!(module, "fuzzing" | "isolation" | "main" | "sim" | "testing" | "tidy")
            {
                true
            } else {
                !EDGE.contains(&named)
                    || [("telemetry", "config"), ("engine", "query")].contains(&(module, named))
            };
            assert!(fine, "{} must not know crate::{named}", path.display());
        }
    }
}

#[test]
fn files_stay_short_and_say_what_they_are() {
    for (path, text) in ["src", "e2e", "mutants"].into_iter().flat_map(sources) {
        let lines = text.lines().count();
        assert!(lines <= 500, "{} has {lines} lines", path.display());
        assert!(text.starts_with("//! "), "{} must begin with what it is for", path.display());
        for (number, line) in (1..).zip(text.lines()) {
            let long = line.chars().count();
            let is_data = line.contains('"');
            assert!(long <= 100 || is_data, "{}:{number} has {long} columns", path.display());
        }
    }
}

/// Each invariant stands in the architecture, and in code, and in a test.
#[test]
fn every_invariant_is_named_where_it_is_kept() {
    let architecture = read("ARCHITECTURE.md");
    let mut sources = sources("src");
    sources.retain(|(path, _)| !path.ends_with("tidy.rs"));
    for id in ["A1", "A2", "A3", "A4", "W1", "W2", "S1", "S2", "Q1", "T1", "L1"] {
        assert!(architecture.contains(&format!("| {id} |")), "{id} is not in ARCHITECTURE.md");
        let names = |is_test: bool| {
            sources.iter().any(|(_, text)| {
                let (code, tests) = match text.split_once("#[cfg(test)]\nmod tests {") {
                    Some((code, tests)) => (code, tests),
                    None if text.contains("#[test]") => ("", text.as_str()),
                    None => (text.as_str(), ""),
                };
                let text = if is_test { tests } else { code };
                text.split(|c: char| !c.is_ascii_alphanumeric()).any(|word| word == id)
            })
        };
        assert!(names(false), "no code names {id}");
        assert!(names(true), "no test names {id}");
    }
}

/// A crash test that names a failpoint must be able to rely on somebody coming by.
#[test]
fn every_failpoint_has_one_place() {
    let mut sources = sources("src");
    sources.retain(|(path, _)| !path.ends_with("failpoint.rs"));
    for point in crate::failpoint::Failpoint::ALL {
        let call = format!("failpoint::reach(Failpoint::{point:?});");
        let places: usize = sources.iter().map(|(_, text)| text.matches(&call).count()).sum();
        assert_eq!(places, 1, "{call}");
    }
}

/// A mutant whose text is gone from the code would be skipped for ever.
#[test]
fn every_mutant_still_applies() {
    let list: toml::Table = read("mutants/mutants.toml").parse().expect("valid TOML");
    let text = |table: &toml::Value, key: &str| table[key].as_str().expect("text").to_owned();
    let mut names = Vec::new();
    for mutant in list["mutant"].as_array().expect("mutants") {
        let name = text(mutant, "name");
        for edit in mutant["edits"].as_array().expect("edits") {
            let (file, old) = (text(edit, "file"), text(edit, "old"));
            let found = read(&file).matches(&old).count();
            assert_eq!(found, 1, "mutant {name}: {file} has this {found} times: {old}");
            assert_ne!(old, text(edit, "new"), "mutant {name} changes nothing");
        }
        assert!(!mutant["suites"].as_array().expect("suites").is_empty(), "mutant {name}");
        names.push(name);
    }
    let count = names.len();
    names.sort();
    names.dedup();
    assert_eq!(names.len(), count, "names are told apart");
    assert!(count >= 30, "the mutants were found");
}

#[test]
fn the_readme_names_every_metric_and_every_problem() {
    let readme = read("README.md");
    for metric in crate::telemetry::metrics::ALL {
        let name = metric.name;
        assert!(readme.contains(&format!("`{name}`")), "README.md does not name {name}");
    }
    let problems = read("src/http/problem.rs");
    let names = problems.split('"').filter(|text| {
        text.contains('-') && text.bytes().all(|b| b.is_ascii_lowercase() || b == b'-')
    });
    let mut count = 0;
    for name in names.filter(|name| !matches!(*name, "accept-post" | "retry-after")) {
        count += 1;
        assert!(readme.contains(&format!("`{name}`")), "README.md does not name {name}");
    }
    assert!(count > 15, "the problem types were found");
}
