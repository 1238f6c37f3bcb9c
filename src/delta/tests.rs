//! What a delta promises: sums that stay exact, whatever is counted under `(other)`.

use super::*;
use crate::testing::{batch, batch_by, customer, summary};

const LIMITS: KeyLimits = KeyLimits { paths: 2, agents: 1 };

fn add(delta: &mut Delta, of: &str, body: &str) {
    let summary = summary(body);
    for window in 0..summary.windows.len() {
        delta.add(&customer(of), &summary, window, Group(1), false, LIMITS);
    }
}

/// L1, W2: a full window counts known names on, and new ones under `(other)`.
#[test]
fn a_full_window_counts_new_names_as_other() {
    let mut delta = Delta::default();
    add(&mut delta, "c", &batch(&[(1, "/a"), (1, "/b"), (1, "/c"), (2, "/c")]));
    add(&mut delta, "c", &batch_by(&[(1, "/a", "Wget/1"), (1, "/d", "Wget/1")]));
    let window = delta.get(Minute(1), &customer("c")).expect("counted");
    let paths: Vec<_> = window.paths.iter().collect();
    assert_eq!(paths, [(OTHER, 2), ("GET /a", 2), ("GET /b", 1)]);
    assert_eq!(window.agents.iter().collect::<Vec<_>>(), [(OTHER, 2), ("curl", 3)]);
    assert!(window.adds_up());
    let next = delta.get(Minute(2), &customer("c")).expect("counted");
    assert_eq!(next.paths.iter().collect::<Vec<_>>(), [("GET /c", 1)], "its own limit");
}

/// L1: what is not kept takes no memory, so that no customer can fill it with names.
#[test]
fn names_past_the_limit_take_no_memory() {
    let mut delta = Delta::default();
    add(&mut delta, "c", &batch(&[(1, "/a"), (1, "/b"), (1, "/c")]));
    let full = delta.bytes();
    for n in 0..1_000 {
        add(&mut delta, "c", &batch(&[(1, &format!("/new/{n}"))]));
    }
    assert_eq!(delta.bytes(), full);
}

/// L1: long names fill a window before their number does.
#[test]
fn long_names_past_the_bytes_of_a_window_take_no_memory() {
    let mut delta = Delta::default();
    let limits = KeyLimits { paths: 100_000, agents: 1 };
    let mut add = |names: std::ops::Range<usize>| {
        let paths: Vec<_> = names.map(|n| format!("/{n:0>2000}")).collect();
        let lines: Vec<_> = paths.iter().map(|path| (1, path.as_str())).collect();
        delta.add(&customer("c"), &summary(&batch(&lines)), 0, Group(1), false, limits);
        delta.bytes()
    };
    let fitting = WINDOW_NAMES_BYTES_MAX / 2_005;
    for from in (0..fitting).step_by(1_000) {
        add(from..from + 1_000);
    }
    let full = add(0..10);
    assert_eq!(add(50_000..50_100), full);
    let short = summary(&batch(&[(1, "/short")]));
    delta.add(&customer("c"), &short, 0, Group(1), false, limits);
    let window = delta.get(Minute(1), &customer("c")).expect("counted");
    assert_eq!(window.paths.len(), fitting + 2, "and (other), and a short one that fits still");
    assert!(window.adds_up());
}

/// S1: keys come in the order of the store, each once.
#[test]
fn keys_are_sorted_by_minute_then_customer() {
    let mut delta = Delta::default();
    add(&mut delta, "b", &batch(&[(2, "/a"), (1, "/a")]));
    add(&mut delta, "a", &batch(&[(2, "/a"), (2, "/b")]));
    let keys: Vec<_> = delta.keys().into_iter().map(|(m, of)| (m.0, of.as_str())).collect();
    assert_eq!(keys, [(1, "b"), (2, "a"), (2, "b")]);
}

/// T1: a span is half-open, and one customer's.
#[test]
fn minutes_of_are_one_customer_s_within_the_span() {
    let mut delta = Delta::default();
    add(&mut delta, "a", &batch(&[(1, "/a"), (2, "/a"), (3, "/a"), (4, "/a")]));
    add(&mut delta, "b", &batch(&[(3, "/b")]));
    let minutes = |from, to| {
        let span = Span { from: Minute(from), to: Minute(to) };
        let minutes = delta.minutes_of(&customer("a"), span, Parts::ALL);
        for (minute, window) in minutes.windows(span) {
            assert_eq!(Some(window), delta.get(minute, &customer("a")));
        }
        minutes.totals.iter().map(|(minute, _)| minute.0).collect::<Vec<_>>()
    };
    assert_eq!(minutes(2, 4), [2, 3]);
    assert_eq!(minutes(4, 2), [0; 0], "an empty span is no panic");
}
