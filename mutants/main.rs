//! Does the proof see? Takes away one rule of the engine at a time and expects tests to go red.
//!
//! `mutants.toml` says what is taken away and which tests must notice. The tree is copied to
//! `target/mutants`, with a build directory of its own; there each mutant is built, and its suites
//! are run until the first test fails. A mutant that does not compile proves nothing and is an
//! error; so is a suite that is red without any mutant, or that has no test.

#![allow(
    clippy::disallowed_methods,
    reason = "a tool around cargo: it owns its clock, its files and its processes"
)]
#![allow(clippy::print_stdout, reason = "the table is its output")]
#![allow(clippy::print_stderr, reason = "what it is doing is shown beside the table")]

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};
use std::{env, fs, thread};

use anyhow::{Context as _, Result, bail, ensure};
use clap::Parser;
use serde::Deserialize;

/// Longer than any test takes; one that hangs has not noticed.
const PATIENCE: Duration = Duration::from_secs(300);

/// Take away rules one at a time and see that tests notice.
#[derive(Parser)]
#[command(name = "mutants")]
struct Args {
    /// Only mutants with this in their name or rule, for example `sync` or `A3`
    names: Vec<String>,
    /// List the mutants and stop
    #[arg(long)]
    list: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct List {
    mutant: Vec<Mutant>,
}

/// One rule taken away.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Mutant {
    name: String,
    /// The invariant that it breaks.
    rule: String,
    /// What the code does without it.
    what: String,
    edits: Vec<Edit>,
    /// Filters of unit tests; each must go red.
    suites: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Edit {
    file: PathBuf,
    old: String,
    new: String,
}

/// The copy that mutants are made in.
struct Tree {
    root: PathBuf,
    target: PathBuf,
}

/// How a suite took a mutant.
enum Verdict {
    Red { test: String, after: Duration },
    Green,
}

fn main() -> ExitCode {
    match run(&Args::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Tries the mutants that are asked for; `true` if each was noticed by each of its suites.
fn run(args: &Args) -> Result<bool> {
    let source = Path::new(env!("CARGO_MANIFEST_DIR"));
    let list = fs::read_to_string(source.join("mutants/mutants.toml"))?;
    let List { mutant: mut mutants } = toml::from_str(&list)?;
    let wants = |mutant: &Mutant| {
        let named = |name: &String| mutant.name.contains(name) || mutant.rule == *name;
        args.names.is_empty() || args.names.iter().any(named)
    };
    mutants.retain(wants);
    ensure!(!mutants.is_empty(), "no mutant has {:?} in its name", args.names);
    if args.list {
        for Mutant { name, rule, what, .. } in &mutants {
            println!("{rule:3} {name:40} {what}");
        }
        return Ok(true);
    }
    let tree = Tree::copy(source)?;
    tree.must_be_green(&mutants)?;
    println!("| mutant | rule | without it | suite | red after |");
    println!("| --- | --- | --- | --- | --- |");
    let (mut survivors, mut errors) = (0, 0);
    for mutant in &mutants {
        match tree.torment(mutant) {
            Ok(survived) => survivors += survived,
            Err(error) => {
                errors += 1;
                eprintln!("error: {}: {error:#}", mutant.name);
            }
        }
    }
    println!(
        "\n{} mutants; not noticed by a suite of theirs: {survivors}; could not be tried: {errors}",
        mutants.len()
    );
    Ok(survivors + errors == 0)
}

impl Tree {
    /// Copies what git knows, or could know, and removes what else is there.
    fn copy(source: &Path) -> Result<Self> {
        let scratch = source.join("target/mutants");
        let (root, target) = (scratch.join("tree"), scratch.join("target"));
        let listed = Command::new("git")
            .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"])
            .current_dir(source)
            .output()
            .context("git ls-files")?;
        ensure!(listed.status.success(), "git does not know {}", source.display());
        let listed = String::from_utf8(listed.stdout)?;
        let files: BTreeSet<_> = listed.split_terminator('\0').map(PathBuf::from).collect();
        for file in files.iter().filter(|file| source.join(file).is_file()) {
            let contents = fs::read(source.join(file))?;
            let copy = root.join(file);
            // A file that is the same keeps its time, so that cargo builds only what has changed.
            if fs::read(&copy).ok().as_ref() != Some(&contents) {
                fs::create_dir_all(copy.parent().context("a file is in a folder")?)?;
                fs::write(&copy, contents)?;
            }
        }
        for stale in stale(&root, &files)? {
            fs::remove_file(stale)?;
        }
        Ok(Self { root, target })
    }

    /// Every suite is green without a mutant and has tests, or its red would mean nothing.
    fn must_be_green(&self, mutants: &[Mutant]) -> Result<()> {
        let suites: BTreeSet<_> = mutants.iter().flat_map(|mutant| &mutant.suites).collect();
        let binary = self.build()?;
        for suite in suites {
            eprintln!("{suite} without a mutant");
            let tests = Command::new(&binary).args([suite, "--list"]).output()?;
            let tests = String::from_utf8_lossy(&tests.stdout).matches(": test").count();
            ensure!(tests > 0, "no test has {suite} in its name");
            if let Verdict::Red { test, .. } = self.test(&binary, suite)? {
                bail!("{suite} is red without a mutant: {test}");
            }
        }
        Ok(())
    }

    /// Makes a mutant, runs its suites, and mends the tree; how many suites did not notice.
    fn torment(&self, mutant: &Mutant) -> Result<usize> {
        eprintln!("{}: {}", mutant.name, mutant.what);
        let files: BTreeSet<_> =
            mutant.edits.iter().map(|edit| self.root.join(&edit.file)).collect();
        let whole: Vec<_> = files
            .into_iter()
            .map(|file| Ok((fs::read_to_string(&file)?, file)))
            .collect::<Result<_>>()?;
        let survived = self.edit(mutant).and_then(|()| self.judge(mutant));
        for (text, file) in whole {
            fs::write(file, text)?;
        }
        survived
    }

    fn edit(&self, mutant: &Mutant) -> Result<()> {
        for Edit { file, old, new } in &mutant.edits {
            let path = self.root.join(file);
            let text = fs::read_to_string(&path)?;
            let found = text.matches(old.as_str()).count();
            ensure!(found == 1, "{} has {found} times: {old}", file.display());
            fs::write(path, text.replace(old, new))?;
        }
        Ok(())
    }

    fn judge(&self, mutant: &Mutant) -> Result<usize> {
        let binary = self.build()?;
        let mut survived = 0;
        for suite in &mutant.suites {
            let after = match self.test(&binary, suite)? {
                Verdict::Red { test, after } => format!("{:.1} s, {test}", after.as_secs_f64()),
                Verdict::Green => {
                    survived += 1;
                    "**not noticed**".to_owned()
                }
            };
            let Mutant { name, rule, what, .. } = mutant;
            println!("| {name} | {rule} | {what} | `{suite}` | {after} |");
        }
        Ok(survived)
    }

    /// Builds the unit tests; where their binary is.
    fn build(&self) -> Result<PathBuf> {
        let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let built = Command::new(cargo)
            .args(["test", "--lib", "--no-run", "--locked", "--message-format=json"])
            .current_dir(&self.root)
            .env("CARGO_TARGET_DIR", &self.target)
            .stderr(Stdio::null())
            .output()?;
        let mut errors = String::new();
        for line in String::from_utf8_lossy(&built.stdout).lines() {
            let message: serde_json::Value = serde_json::from_str(line)?;
            if let Some(binary) = message["executable"].as_str().filter(|_| built.status.success())
            {
                return Ok(PathBuf::from(binary));
            }
            if message["message"]["level"] == "error" {
                errors.push_str(message["message"]["rendered"].as_str().unwrap_or_default());
            }
        }
        bail!("it does not compile\n{errors}");
    }

    /// Runs the tests of a suite until the first has failed.
    fn test(&self, binary: &Path, suite: &str) -> Result<Verdict> {
        let started = Instant::now();
        let mut running = Command::new(binary)
            .arg(suite)
            .current_dir(&self.root)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()?;
        let output = BufReader::new(running.stdout.take().context("its output is piped")?);
        let (tell, told) = mpsc::channel();
        thread::spawn(move || output.lines().map_while(Result::ok).try_for_each(|l| tell.send(l)));
        loop {
            let line = match told.recv_timeout(PATIENCE) {
                Ok(line) => line,
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => {
                    running.kill()?;
                    bail!("{suite} hangs");
                }
            };
            let test = line.strip_prefix("test ").and_then(|line| line.strip_suffix(" ... FAILED"));
            if let Some(test) = test {
                running.kill()?;
                running.wait()?;
                return Ok(Verdict::Red { test: test.to_owned(), after: started.elapsed() });
            }
        }
        let ended = running.wait()?;
        if ended.success() {
            return Ok(Verdict::Green);
        }
        Ok(Verdict::Red { test: ended.to_string(), after: started.elapsed() })
    }
}

/// Files of the copy that its source does not have any more.
fn stale(root: &Path, files: &BTreeSet<PathBuf>) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut folders = vec![root.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder)? {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
            } else if !files.contains(path.strip_prefix(root)?) {
                found.push(path);
            }
        }
    }
    Ok(found)
}
