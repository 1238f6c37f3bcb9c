//! The committed corpora, and inputs made from them, through the functions that fuzzers call.

#![expect(clippy::disallowed_methods, reason = "reads the corpora, outside of any engine")]

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use super::{TARGETS, Taken, Target};
use crate::entropy::Entropy;
use crate::testing::SeededEntropy;

/// Inputs made per target; a fuzzer makes as many in a few seconds.
const MADE: u64 = 40_000;
/// As many as the environment wants.
fn made() -> u64 {
    let wanted = std::env::var("LOGMILL_FUZZ_INPUTS").ok();
    wanted.and_then(|text| text.parse().ok()).unwrap_or(MADE)
}

/// The targets, or the one that the environment names.
fn targets() -> impl Iterator<Item = &'static (&'static str, Target)> {
    let wanted = std::env::var("LOGMILL_FUZZ_TARGET").ok();
    TARGETS.iter().filter(move |(name, _)| wanted.as_deref().is_none_or(|wanted| wanted == *name))
}

/// Numbers at which lengths and counts go wrong.
const EDGES: [u64; 8] = [0, 1, 0x7f, 0x80, 0xffff, 1 << 31, 1 << 63, u64::MAX];

/// The files of a target's corpus, by name.
fn corpus(target: &str) -> Vec<(String, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
    let entries = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{folder:?}: {error}"));
    let mut files: Vec<_> = entries
        .map(|entry| {
            let entry = entry.expect("readable");
            let name = entry.file_name().to_string_lossy().into_owned();
            (name, fs::read(entry.path()).expect("readable"))
        })
        .collect();
    files.sort();
    files
}

/// Calls a target, and shows the input that it did not bear.
fn call(target: &str, run: Target, from: &str, input: &[u8]) -> Taken {
    catch_unwind(AssertUnwindSafe(|| run(input))).unwrap_or_else(|_| {
        panic!("{target} does not bear {from}: b\"{}\"", input.escape_ascii());
    })
}

#[test]
fn every_input_of_the_corpora_is_borne() {
    for (target, run) in targets() {
        let files = corpus(target);
        let taken = files.iter().filter(|(name, input)| call(target, *run, name, input)).count();
        assert!(taken > 0, "the corpus of {target} has something that is taken");
        assert!(taken < files.len(), "the corpus of {target} has something that is refused");
    }
}

#[test]
fn inputs_made_from_the_corpora_are_borne() {
    for (target, run) in targets() {
        let files = corpus(target);
        for seed in 0..made() {
            let input = made_from(&files, &SeededEntropy::seeded(seed));
            call(target, *run, &format!("the input of seed {seed}"), &input);
        }
    }
}

/// A target without a fuzzer, or a fuzzer without a replay, would be missed by nobody.
#[test]
fn every_target_has_its_binary() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz");
    let manifest = fs::read_to_string(folder.join("Cargo.toml")).expect("readable");
    for (target, _) in TARGETS {
        let source = fs::read_to_string(folder.join(format!("targets/{target}.rs")));
        assert!(source.expect("readable").contains(&format!("logmill::fuzzing::{target}(bytes)")));
        assert!(manifest.contains(&format!("path = \"targets/{target}.rs\"")), "{target}");
    }
    assert_eq!(manifest.matches("[[bin]]").count(), TARGETS.len());
}

fn made_from(files: &[(String, Vec<u8>)], chance: &SeededEntropy) -> Vec<u8> {
    let below = |bound: usize| {
        usize::try_from(chance.below(bound.max(1) as u64)).expect("below a small number")
    };
    let pick = || &files[below(files.len())].1;
    let mut input = pick().clone();
    for _ in 0..1 + below(4) {
        let (at, other) = (below(input.len()), pick());
        let end = (at + below(64)).min(input.len());
        match below(7) {
            0 if !input.is_empty() => input[at] ^= 1 << below(8),
            1 if !input.is_empty() => input[at] = chance.bits().to_le_bytes()[0],
            2 => input.truncate(at),
            3 => drop(input.drain(at..end)),
            4 => input.extend_from_within(at..end),
            5 => {
                let piece = &other[below(other.len())..];
                input.splice(at..end, piece.iter().copied());
            }
            _ => {
                let number = EDGES[below(EDGES.len())].to_le_bytes();
                let number = &number[..1 << below(4)];
                let end = (at + number.len()).min(input.len());
                input.splice(at..end, number.iter().copied());
            }
        }
    }
    input
}
