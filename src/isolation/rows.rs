//! Rows of customers whose ids begin alike, in one store.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::checkpoint::Checkpointer;
use crate::claim::ClaimSync;
use crate::counts::KeyLimits;
use crate::delta::Delta;
use crate::ids::{AcceptTime, CustomerId, Epoch, Group};
use crate::limits;
use crate::query::{self, Busy, Source};
use crate::sequencer::BarrierPlaced;
use crate::store::{Dimension, Retention, Store};
use crate::testing::{DataDir, SeededEntropy, batch, customer, now_at, summary};
use crate::window::{Minute, Span, WindowSize};
use crate::worker::Overlay;

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

/// A store, the counts of one more delta that is not in it, and all that was ever counted.
struct Books {
    store: Arc<Store>,
    checkpointer: Checkpointer,
    epoch: Epoch,
    pending: Arc<Delta>,
    counted: BTreeMap<(CustomerId, u32), u64>,
    _dir: DataDir,
}

impl Source for Books {
    fn overlays(&self, customer: &CustomerId, span: Span) -> Result<Vec<Overlay>, Busy> {
        let minutes = self.pending.windows_of(customer, span);
        Ok(vec![Overlay { epoch: self.epoch.next(), minutes }])
    }

    fn store(&self) -> &Store {
        &self.store
    }
}

impl Books {
    fn open() -> Self {
        let dir = DataDir::new();
        let store = Store::open(&dir.disk(), &dir.layout, 1 << 20, KEYS).expect("opened");
        let store = Arc::new(store);
        let retention = Retention { minutes: 48 * HOUR, hours: 96 * HOUR, ..Retention::FOREVER };
        let (disk, layout) = (dir.disk(), dir.layout.clone());
        let checkpointer = Checkpointer { disk, layout, store: Arc::clone(&store), retention };
        let (pending, counted) = (Arc::default(), BTreeMap::new());
        Self { store, checkpointer, epoch: Epoch(0), pending, counted, _dir: dir }
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
        self.pending = Arc::new(delta);
    }

    fn commit(&mut self, minute: u32) {
        self.epoch = self.epoch.next();
        let (group, accepted) = (Group(self.epoch.0), AcceptTime(u64::from(minute) * 60_000));
        let (claims, sealed, uptime) = (ClaimSync::default(), Vec::new(), Duration::ZERO);
        let placed = BarrierPlaced { group, accepted, claims, sealed, uptime };
        let deltas = [std::mem::take(&mut self.pending)];
        let written = self.checkpointer.write(self.epoch, &placed, &deltas, None, now_at(minute));
        written.expect("committed");
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
            let page = query::windows(self, id, *size, all, KEYS).expect("an answer");
            let mut found = BTreeMap::new();
            for (start, window) in &page.windows {
                assert!(window.paths.iter().all(|(path, _)| path == own), "{id}: {window:?}");
                assert!(window.adds_up());
                found.insert(*start, window.totals.requests);
            }
            assert_eq!(found, expected, "{id}, by the {size}");
            let series = query::series(self, id, *size, all).expect("an answer");
            let points = series.points.iter().map(|(start, totals)| (*start, totals.requests));
            assert!(points.eq(expected), "{id}, as a series by the {size}");
        }
        let top = query::top(self, id, all, Dimension::Path, 10).expect("an answer");
        assert!(top.rows.iter().all(|(path, _)| **path == *own), "{id}: {:?}", top.rows);
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
        books.commit(AROUND[3] + u32::try_from(round).expect("small") * 90);
        ids.iter().for_each(|id| books.must_be_kept_apart(id, &SIZES));
    }
    // Minutes go past their retention, then hours; days stay.
    for (hours, sizes) in [(50, &SIZES[1..]), (100, &SIZES[2..])] {
        for later in 0..3 {
            books.commit(AROUND[3] + 12 * 90 + hours * 60 + later);
        }
        ids.iter().for_each(|id| books.must_be_kept_apart(id, sizes));
    }
}
