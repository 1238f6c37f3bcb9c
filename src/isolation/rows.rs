//! Rows of customers whose ids begin alike, in one store.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::counts::KeyLimits;
use crate::delta::Delta;
use crate::ids::{CustomerId, Group};
use crate::limits;
use crate::query::overlaid::Overlaid;
use crate::query::{self, By, Filter, Range, Ranked};
use crate::store::Retention;
use crate::testing::{SeededEntropy, batch, customer, summary};
use crate::window::{Minute, Span, WindowSize};

const KEYS: KeyLimits = KeyLimits { paths: 1_000, agents: 10 };
const HOUR: Duration = Duration::from_secs(3_600);
/// Bytes that are letters too: a key that mixed up time and customer would be another's.
const AROUND: [u32; 4] = [0x0161_6161, 0x0161_6162, 0x0161_613a, 0x0161_6200];
const SIZES: [WindowSize; 3] = [WindowSize::Minute, WindowSize::Hour, WindowSize::Day];

/// Ids that are prefixes of each other, differ in the last byte or case, or are as long as can be.
fn customers() -> Vec<CustomerId> {
    let mut ids: Vec<_> =
        ["a", "a.", "a-", "a_", "a:", "a@", "a0", "aa", "aaa", "A", "b", "0", "z"]
            .map(str::to_owned)
            .into();
    for last in ["", "a", ":", "0", "z"] {
        let long = limits::CUSTOMER_ID_BYTES_MAX - last.len();
        ids.push(format!("{}{last}", "a".repeat(long)));
    }
    ids.sort();
    ids.dedup();
    ids.iter().map(|id| customer(id)).collect()
}

/// A store with an overlay, and all that was ever counted.
struct Books {
    overlaid: Overlaid,
    counted: BTreeMap<(CustomerId, u32), u64>,
}

impl Books {
    fn open() -> Self {
        let retention = Retention { minutes: 48 * HOUR, hours: 96 * HOUR, ..Retention::FOREVER };
        Self { overlaid: Overlaid::open(KEYS, retention), counted: BTreeMap::new() }
    }

    /// Counts something for some customers; each has paths that name it.
    fn count(&mut self, chance: &SeededEntropy, ids: &[CustomerId]) {
        let mut delta = Delta::default();
        for id in ids.iter().filter(|_| !chance.one_in(3)) {
            for around in AROUND.into_iter().filter(|_| !chance.one_in(3)) {
                let minute = around + u32::try_from(chance.below(3)).expect("small");
                let path = format!("/{id}");
                let requests = 1 + chance.below(4);
                let entries: Vec<_> = (0..requests).map(|_| (minute, path.as_str())).collect();
                delta.add(id, &summary(&batch(&entries)), 0, Group(1), false, KEYS);
                *self.counted.entry((id.clone(), minute)).or_default() += requests;
            }
        }
        self.overlaid.pending = Arc::new(delta);
    }

    /// T1: each customer sees its own counts, all of them as long as they are kept, in windows of
    /// a size and in the ranking, and no path of another.
    fn must_be_kept_apart(&self, id: &CustomerId, sizes: &[WindowSize]) {
        let all = Span { from: Minute(0), to: Minute(u32::MAX / 2) };
        let own = format!("GET /{id}");
        for size in sizes {
            let mut expected: BTreeMap<Minute, u64> = BTreeMap::new();
            let mine = self.counted.iter().filter(|((of, _), _)| of == id);
            for ((_, minute), requests) in mine {
                *expected.entry(Minute(*minute).floor(*size)).or_default() += requests;
            }
            let range = Range::utc(id, *size, all);
            let page =
                query::windows(&self.overlaid, &range, &Filter::All, KEYS).expect("an answer");
            let mut found = BTreeMap::new();
            for (start, window) in &page.windows {
                assert!(window.paths.iter().all(|(path, _)| path == own), "{id}: {window:?}");
                assert!(window.adds_up());
                found.insert(*start, window.totals.requests);
            }
            assert_eq!(found, expected, "{id}, by the {size}");
            let series = query::series(&self.overlaid, &range).expect("an answer");
            let points = series.points.iter().map(|(start, totals)| (*start, totals.requests));
            assert!(points.eq(expected), "{id}, as a series by the {size}");
        }
        let top =
            query::top(&self.overlaid, id, &Ranked::of(all, By::Path, 10)).expect("an answer");
        assert!(top.rows.iter().all(|row| *row.key == *own), "{id}: {:?}", top.rows);
    }
}

impl Books {
    /// The list of customers has each with what it was counted, in any range, and so has a range
    /// of one customer: what was folded into its hour or day counts at the start of that.
    fn must_be_listed(&self, ids: &[CustomerId], chance: &SeededEntropy, folded: WindowSize) {
        for _ in 0..20 {
            let (a, b) = (chance.below(3_000), chance.below(3_000));
            let minute = |at: u64| Minute(AROUND[0] - 600 + u32::try_from(at).expect("small"));
            let span = Span { from: minute(a.min(b)), to: minute(a.max(b)) };
            let mut expected: BTreeMap<&CustomerId, u64> = BTreeMap::new();
            for ((of, at), requests) in &self.counted {
                if span.contains(Minute(*at).floor(folded)) {
                    *expected.entry(of).or_default() += requests;
                }
            }
            let listed = query::customers(&self.overlaid, span, "").expect("an answer");
            assert!(listed.is_sorted_by(|a, b| (b.1, &a.0) <= (a.1, &b.0)), "{listed:?}");
            let listed: BTreeMap<_, _> = listed.iter().map(|(of, n)| (of, *n)).collect();
            assert_eq!(listed, expected, "{span:?}");
            let own = query::customers_of(&self.overlaid, span, ids).expect("an answer");
            assert!(own.iter().map(|(of, n)| (of, *n)).collect::<BTreeMap<_, _>>() == expected);
        }
    }
}

/// T1: through checkpoints, roll-ups and the end of retention.
#[test]
fn customers_that_begin_alike_have_rows_of_their_own() {
    let ids = customers();
    let mut books = Books::open();
    for round in 0..12 {
        let chance = SeededEntropy::seeded(round);
        books.count(&chance, &ids);
        ids.iter().for_each(|id| books.must_be_kept_apart(id, &SIZES));
        books.overlaid.commit(AROUND[3] + u32::try_from(round).expect("small") * 90);
        ids.iter().for_each(|id| books.must_be_kept_apart(id, &SIZES));
        books.must_be_listed(&ids, &chance, WindowSize::Minute);
    }
    // Minutes go past their retention, then hours; days stay.
    for (hours, sizes) in [(50, &SIZES[1..]), (100, &SIZES[2..])] {
        for later in 0..3 {
            books.overlaid.commit(AROUND[3] + 12 * 90 + hours * 60 + later);
        }
        books.must_be_listed(&ids, &SeededEntropy::seeded(hours.into()), sizes[0]);
        ids.iter().for_each(|id| books.must_be_kept_apart(id, sizes));
    }
}
