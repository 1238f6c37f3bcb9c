//! Answers of every form against a plain count: through checkpoints, roll-ups and the end of
//! retention, with part of what is asked for still in memory.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::overlaid::Overlaid;
use super::*;
use crate::delta::Delta;
use crate::ids::Group;
use crate::store::Retention;
use crate::testing::{RULES, SeededEntropy, batch, batch_by, customer, hours, summary};
use crate::user_agent::{Kind, family, kind};

const PATHS: [&str; 4] = ["/", "/a", "/a/b", "/b"];
const AGENTS: [&str; 4] = ["curl/8.5.0", "GPTBot/1.2", "Uptimebot/1.0", "Wget/1.21"];
const ZONES: [&str; 4] = ["UTC", "Europe/Berlin", "Asia/Kolkata", "Australia/Lord_Howe"];
/// 2025-03-28T00:00:00Z, two days before clocks change in Berlin.
const FIRST: u32 = 29_051_520;
const MINUTES: u64 = 4 * 1_440;

/// A request that was counted.
struct Request {
    minute: Minute,
    path: String,
    agent: String,
}

struct Books {
    overlaid: Overlaid,
    customer: CustomerId,
    counted: Vec<Request>,
    /// Counts that are folded stand at the start of this.
    folded: WindowSize,
}

impl Books {
    fn new() -> Self {
        let retention = Retention { minutes: hours(48), hours: hours(96), ..Retention::FOREVER };
        Self {
            overlaid: Overlaid::open(RULES.keys, retention),
            customer: customer("acme"),
            counted: Vec::new(),
            folded: WindowSize::Minute,
        }
    }

    /// Counts of four days; the latest are in memory.
    fn kept(seed: u64) -> (Self, SeededEntropy) {
        let mut books = Self::new();
        let chance = SeededEntropy::seeded(seed);
        for round in 0..4 {
            books.count(&chance);
            if round < 3 {
                books.overlaid.commit(FIRST + 4 * 1_440 + round);
            }
        }
        (books, chance)
    }

    fn count(&mut self, chance: &SeededEntropy) {
        let mut delta = Delta::default();
        for _ in 0..60 {
            let minute = FIRST + u32::try_from(chance.below(MINUTES)).expect("small");
            let pick = |of: [&'static str; 4]| of[usize::try_from(chance.below(4)).expect("small")];
            let (path, agent) = (pick(PATHS), pick(AGENTS));
            let batch = summary(&batch_by(&[(minute, path, agent)]));
            delta.add(&self.customer, &batch, 0, Group(1), false, RULES.keys);
            let (path, agent) = (format!("GET {path}"), family(agent).into_owned());
            self.counted.push(Request { minute: Minute(minute), path, agent });
        }
        self.overlaid.pending = Arc::new(delta);
    }

    /// Everything goes into the store, and past retention of minutes, or of hours.
    fn expire(&mut self, folded: WindowSize) {
        self.overlaid.commit(FIRST + 4 * 1_440 + 3);
        let after = if folded == WindowSize::Hour { 60 } else { 120 };
        for later in 0..4 {
            self.overlaid.commit(FIRST + 4 * 1_440 + after * 60 + later);
        }
        self.folded = folded;
    }

    fn range(&self, calendar: &Calendar, span: Span) -> Range {
        Range { customer: self.customer.clone(), calendar: calendar.clone(), span, resume: None }
    }

    /// What was counted in a span, by key.
    fn expected(&self, span: Span, by: By, filter: &Filter) -> BTreeMap<String, u64> {
        let mut sums = BTreeMap::new();
        for request in &self.counted {
            let name = if by == By::Path { &request.path } else { &request.agent };
            if span.contains(request.minute.floor(self.folded)) && filter.takes(name) {
                *sums.entry(by.key(name).to_owned()).or_default() += 1;
            }
        }
        sums
    }

    fn must_be_told_of(&self, calendar: &Calendar, span: Span, by: By, filter: &Filter) {
        let what = format!("{span:?} by {by:?} of {filter:?}, {calendar:?}, {:?}", self.folded);
        let rows = Rows { skip: 0, take: 100 };
        let ranked = Ranked { span, compared: Some(span.before()), by, filter, rows };
        let top = top(&self.overlaid, &self.customer, &ranked).expect("an answer");
        let expected = self.expected(span, by, filter);
        let found = top.rows.iter().map(|row| (row.key.to_string(), row.requests));
        assert_eq!(found.collect::<BTreeMap<_, _>>(), expected, "{what}");
        assert_eq!(top.requests, expected.values().sum::<u64>(), "{what}");
        let before = self.expected(span.before(), by, filter);
        for row in &top.rows {
            let expected = before.get(&*row.key).copied().unwrap_or_default();
            assert_eq!(row.before, Some(expected), "{}, {what}", row.key);
        }
        if self.folded > calendar.size() {
            // Windows this small are not told apart any more.
            return;
        }
        let range = self.range(calendar, span);
        let split = split(&self.overlaid, &range, by, filter, 2).expect("an answer");
        assert!(split.next.is_none() && split.keys.len() <= 2, "{what}");
        let mut points = BTreeMap::new();
        let mut start = calendar.ceil(span.from);
        while start < span.to {
            let expected = self.expected(calendar.window(start), by, filter);
            let requests: u64 = expected.values().sum();
            let by_key = split.keys.iter().map(|key| expected.get(&**key).copied());
            let by_key: Vec<_> = by_key.map(Option::unwrap_or_default).collect();
            if requests > 0 {
                points.insert(start, SplitPoint { start, requests, by_key });
            }
            start = calendar.after(start);
        }
        assert_eq!(split.points, points.into_values().collect::<Vec<_>>(), "{what}");
        let windows = windows(&self.overlaid, &range, filter, RULES.keys).expect("an answer");
        let requests = windows.windows.iter().map(|(start, w)| (*start, w.totals.requests));
        assert!(requests.eq(split.points.iter().map(|p| (p.start, p.requests))), "{what}");
        if *filter == Filter::All {
            let series = series(&self.overlaid, &range).expect("an answer");
            let requests = series.points.iter().map(|(start, t)| (*start, t.requests));
            assert!(requests.eq(split.points.iter().map(|p| (p.start, p.requests))), "{what}");
            assert!(windows.windows.iter().all(|(_, window)| window.adds_up()), "W2: {what}");
        }
    }
}

/// Q1, W2: every form of answer tells the same, in any place's windows, for any filter.
#[test]
fn every_answer_equals_a_plain_count() {
    let filters = [
        Filter::All,
        Filter::Path("/a".into()),
        Filter::PathPrefix("GET /a".into()),
        Filter::Agent("curl".into()),
        Filter::Kind(Kind::Client),
        Filter::Bots,
    ];
    for seed in 0..6 {
        let (mut books, chance) = Books::kept(seed);
        for folded in [WindowSize::Minute, WindowSize::Hour, WindowSize::Day] {
            if folded > WindowSize::Minute {
                books.expire(folded);
            }
            for _ in 0..12 {
                let minute =
                    || Minute(FIRST + u32::try_from(chance.below(MINUTES)).expect("small"));
                let (a, b) = (minute(), minute());
                let span = Span { from: a.min(b), to: a.max(b) };
                let zone = ZONES[usize::try_from(chance.below(4)).expect("small")];
                let size = [WindowSize::Minute, WindowSize::Hour, WindowSize::Day];
                let size = size[usize::try_from(chance.below(3)).expect("small")];
                let calendar = Calendar::of_zone(size, zone).expect("a zone");
                for filter in &filters {
                    for by in [By::Path, By::Agent, By::Kind] {
                        if filter.suits(by) {
                            books.must_be_told_of(&calendar, span, by, filter);
                        }
                    }
                }
            }
        }
    }
}

/// Q1: what was read once is read anew when a checkpoint has changed it.
#[test]
fn answers_follow_from_checkpoint_to_checkpoint() {
    let (mut books, chance) = (Books::new(), SeededEntropy::seeded(7));
    let half_a_day = Span { from: Minute(FIRST + 1_000), to: Minute(FIRST + 1_751) };
    for round in 0..6 {
        books.count(&chance);
        for commit in [false, true] {
            if commit {
                books.overlaid.commit(FIRST + 4 * 1_440 + round);
            }
            for size in [WindowSize::Minute, WindowSize::Hour] {
                let calendar = Calendar::utc(size);
                for by in [By::Path, By::Agent] {
                    books.must_be_told_of(&calendar, half_a_day, by, &Filter::All);
                }
            }
        }
    }
}

/// L1: an hour with more names than are read at once is answered all the same.
#[test]
fn an_hour_of_very_many_names_is_read_by_minute() {
    let keys = KeyLimits::UNLIMITED;
    let (mut overlaid, customer) = (Overlaid::open(keys, Retention::FOREVER), customer("acme"));
    let mut delta = Delta::default();
    let long = "x".repeat(1_900);
    for minute in 0..3 {
        let paths: Vec<_> = (0..1_000).map(|path| format!("/{long}{minute}{path}")).collect();
        for some in paths.chunks(100) {
            let entries: Vec<_> = some.iter().map(|path| (FIRST + minute, path.as_str())).collect();
            delta.add(&customer, &summary(&batch(&entries)), 0, Group(1), false, keys);
        }
    }
    overlaid.pending = Arc::new(delta);
    overlaid.commit(FIRST + 9);
    let span = Span { from: Minute(FIRST + 1), to: Minute(FIRST + 60) };
    let snapshot = overlaid.store().snapshot().expect("readable");
    let named = snapshot.named_minutes(&customer, Minute(FIRST), Dimension::Path);
    assert!(named.expect("readable").is_none(), "more than are read at once");
    let found = top(&overlaid, &customer, &Ranked::of(span, By::Path, 9)).expect("an answer");
    assert_eq!((found.requests, found.keys), (2_000, 2_000));
    let range = Range::utc(&customer, WindowSize::Minute, span);
    let found = split(&overlaid, &range, By::Path, &Filter::All, 1).expect("an answer");
    let points: Vec<_> = found.points.iter().map(|p| (p.requests, p.by_key[0])).collect();
    assert_eq!(points, [(1_000, 1), (1_000, 0)]);
}

#[test]
fn a_summary_says_what_was_counted() {
    for seed in 0..6 {
        let (books, chance) = Books::kept(seed);
        let from = Minute(FIRST + u32::try_from(chance.below(MINUTES)).expect("small"));
        let span = Span { from, to: Minute(FIRST + 4 * 1_440) };
        let found = summary_of(&books, span);
        let agents = books.expected(span, By::Agent, &Filter::All);
        assert_eq!(found.totals.requests, agents.values().sum::<u64>());
        let before = books.expected(span.before(), By::Agent, &Filter::All);
        assert_eq!(found.before.requests, before.values().sum::<u64>());
        assert_eq!(found.agents, agents.len());
        let kinds = found.kinds.iter().map(|(kind, n)| (kind.name().to_owned(), *n));
        let expected = books.expected(span, By::Kind, &Filter::All);
        assert_eq!(kinds.collect::<BTreeMap<_, _>>(), expected);
        let ai: Vec<_> = agents.iter().filter(|(agent, _)| kind(agent) == Kind::Ai).collect();
        assert!(
            found
                .ai
                .iter()
                .map(|(agent, n)| (&**agent, n))
                .eq(ai.iter().map(|(a, n)| (a.as_str(), *n)))
        );
        let mut minutes: BTreeMap<Minute, u64> = BTreeMap::new();
        for request in books.counted.iter().filter(|request| span.contains(request.minute)) {
            *minutes.entry(request.minute).or_default() += 1;
        }
        let most = minutes.values().copied().max();
        let peak = minutes.into_iter().find(|(_, requests)| Some(*requests) == most);
        assert_eq!(found.peak, peak, "the earliest of the greatest");
    }
}

fn summary_of(books: &Books, span: Span) -> Summary {
    super::summary(&books.overlaid, &books.customer, span, span.before()).expect("an answer")
}

/// Pages of a ranking follow each other without a gap.
#[test]
fn a_ranking_goes_on_where_a_page_ends() {
    let (books, _) = Books::kept(1);
    let span = Span { from: Minute(FIRST), to: Minute(FIRST + 4 * 1_440) };
    let rows = |skip, take| {
        let ranked = Ranked { rows: Rows { skip, take }, ..Ranked::of(span, By::Path, 0) };
        top(&books.overlaid, &books.customer, &ranked).expect("an answer")
    };
    let all = rows(0, 10);
    assert_eq!(all.keys, PATHS.len());
    let pages = [rows(0, 1), rows(1, 2), rows(3, 5)].into_iter().flat_map(|page| page.rows);
    assert_eq!(pages.collect::<Vec<_>>(), all.rows);
    assert!(rows(4, 5).rows.is_empty());
}

/// What would fit is said of the time that was asked for, never of the one it is compared with.
#[test]
fn a_period_before_with_too_many_keys_is_called_that() {
    const PATH_BYTES: usize = 2_000;
    const PATHS: usize = limits::TOP_KEYS_BYTES_MAX / PATH_BYTES + 1;
    let mut books = Books::new();
    // The names of one minute are bounded too.
    let before = Span { from: Minute(FIRST), to: Minute(FIRST + 8) };
    let after = Span { from: before.to, to: before.to.plus(8) };
    let (mut delta, keys) = (Delta::default(), KeyLimits { paths: PATHS, ..RULES.keys });
    for first in (0..PATHS).step_by(1_000) {
        let paths: Vec<_> =
            (first..first + 1_000).map(|number| format!("/{number:0PATH_BYTES$}")).collect();
        let minute = before.from.0 + u32::try_from(first / 1_000 % 8).expect("below 8");
        let entries: Vec<_> = paths.iter().map(|path| (minute, &**path)).collect();
        delta.add(&books.customer, &summary(&batch(&entries)), 0, Group(1), false, keys);
    }
    books.overlaid.pending = Arc::new(delta);
    let asked = |span, compared| {
        let ranked = Ranked { compared, ..Ranked::of(span, By::Path, 10) };
        top(&books.overlaid, &books.customer, &ranked)
    };
    assert!(matches!(asked(before, None), Err(QueryError::TooManyKeys { .. })));
    assert!(asked(after, None).is_ok());
    let compared = asked(after, Some(before));
    assert!(matches!(compared, Err(QueryError::TooManyKeysBefore)), "{compared:?}");
}
