//! What the generator makes, held against the server's own rules, and the books against a server
//! that counts wrong.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::books::{Answered, Books, Comparison, Places, Window};
use super::draw::Weights;
use super::feed::{Feed, Quota, Stop};
use super::site::{self, METHODS};
use super::traffic::{Batch, Shape, Traffic, Turn};
use super::{LoadOptions, run_with};
use crate::client::Patience;
use crate::decode::{DecodeError, Format, summarise};
use crate::user_agent::{self, AgentCache};

const ENTRIES: usize = 50;

fn traffic(change: impl FnOnce(&mut Shape)) -> Traffic {
    let mut shape = Shape {
        seed: 7,
        run: "test".to_owned(),
        start_ms: 1_795_701_600_000,
        pace: 1_000,
        days: None,
        customers: (0..5).map(|number| format!("customer-{number}")).collect(),
        paths: 200,
        entries: ENTRIES,
        duplicates: 0,
        late: 0,
        bad: 0,
    };
    change(&mut shape);
    Traffic::new(shape)
}

fn batch(traffic: &Traffic, number: u64) -> Batch {
    traffic.batch(Turn { number, entries: ENTRIES })
}

/// The same shape makes the same bytes; another seed others, another run the same under other keys.
#[test]
fn a_batch_is_made_of_its_number_and_the_shape() {
    let (one, again) = (traffic(|_| ()), traffic(|_| ()));
    let other_seed = traffic(|shape| shape.seed = 8);
    let other_run = traffic(|shape| shape.run = "other".to_owned());
    for number in [3, 0, 2] {
        let first = batch(&one, number);
        let second = batch(&again, number);
        assert_eq!((&first.body, &first.key), (&second.body, &second.key));
        assert_eq!(first.counted, second.counted);
        assert_ne!(first.body, batch(&other_seed, number).body);
        let elsewhere = batch(&other_run, number);
        assert_eq!(first.body, elsewhere.body);
        assert_ne!(first.key, elsewhere.key);
    }
}

/// The server takes every batch that is not bad, and counts in it what the books expect.
#[test]
fn the_server_counts_what_is_expected() {
    let traffic = traffic(|shape| shape.late = 20);
    let mut cache = AgentCache::new();
    for number in 0..200 {
        let batch = batch(&traffic, number);
        let summary =
            summarise(&Format::default(), &batch.body, &mut cache).expect("a valid batch");
        let mut expected = BTreeMap::new();
        for entry in &batch.counted {
            let resource = &traffic.resources[entry.resource as usize];
            let method = METHODS[usize::from(entry.method)];
            let family = traffic.agents.families[entry.family as usize];
            for name in [format!("{method} {}", resource.path), family.to_owned()] {
                *expected.entry((entry.minute, name)).or_insert(0) += 1;
            }
        }
        let mut counted = BTreeMap::new();
        for window in &summary.windows {
            for (id, count) in window.paths.iter().chain(&window.agents) {
                counted.insert((window.minute.0, summary.names.get(*id).to_owned()), *count);
            }
        }
        assert_eq!(counted, expected, "batch {number}");
    }
}

#[test]
fn a_bad_batch_is_refused_for_one_entry() {
    let traffic = traffic(|shape| shape.bad = 100);
    for number in 0..200 {
        let batch = batch(&traffic, number);
        assert!(batch.is_bad && !batch.again);
        match summarise(&Format::default(), &batch.body, &mut AgentCache::new()) {
            Err(DecodeError::Entries { count, .. }) => assert_eq!(count, 1, "batch {number}"),
            other => panic!("batch {number}: {other:?}"),
        }
    }
}

#[test]
fn shares_are_about_right() {
    let traffic = traffic(|shape| (shape.bad, shape.duplicates, shape.late) = (10, 20, 30));
    let (mut bad, mut again, mut late, mut valid) = (0, 0, 0, 0);
    let first_minute = u32::try_from(traffic.shape.start_ms / 60_000).expect("after 1970") - 1;
    for number in 0..2_000 {
        let batch = batch(&traffic, number);
        bad += usize::from(batch.is_bad);
        again += usize::from(batch.again);
        valid += batch.counted.len();
        late += batch.counted.iter().filter(|entry| entry.minute < first_minute).count();
    }
    assert!((150..250).contains(&bad), "{bad} of 2000 are bad");
    assert!((300..420).contains(&again), "{again} of 2000 are sent again");
    assert!((25..32).contains(&(late * 100 / valid)), "{late} of {valid} are late");
}

/// Written by hand, so somebody may have written it wrong.
#[test]
fn declared_families_are_those_of_the_server() {
    let agents = super::agents::Agents::new();
    for agent in &agents.list {
        let declared = agents.families[agent.family as usize];
        assert_eq!(user_agent::family(&agent.text), declared, "{}", agent.text);
    }
    let texts: BTreeSet<_> = agents.list.iter().map(|agent| &agent.text).collect();
    assert_eq!(texts.len(), agents.list.len(), "agents are told apart");
    assert!(texts.len() >= 300, "{} agents", texts.len());
}

#[test]
fn paths_are_distinct_and_the_first_come_most() {
    let resources = site::resources(20_000);
    let paths: BTreeSet<_> = resources.iter().map(|resource| &resource.path).collect();
    assert_eq!(paths.len(), resources.len());
    let (weights, mut rng) = (Weights::zipf(1_000), fastrand::Rng::with_seed(1));
    let mut drawn = [0; 1_000];
    for _ in 0..100_000 {
        drawn[weights.draw(&mut rng)] += 1;
    }
    // The harmonic number of 1,000 is 7.49.
    assert!((12_500..14_300).contains(&drawn[0]), "{} draws of the first", drawn[0]);
    assert!((1_200..1_500).contains(&drawn[9]), "{} draws of the tenth", drawn[9]);
}

#[test]
fn a_feed_ends_with_the_last_entry() {
    let stop = Stop::default();
    let quota = Quota { batch_entries: 100, entries: 250, duration: None, rate: None };
    let feed = Feed::new(quota, &stop);
    let turns: Vec<_> = std::iter::from_fn(|| feed.next()).collect();
    let expected = [(0, 100), (1, 100), (2, 50)];
    assert_eq!(turns, expected.map(|(number, entries)| Turn { number, entries }));

    let feed = Feed::new(quota, &stop);
    assert!(feed.next().is_some());
    stop.ask();
    assert_eq!(feed.next(), None);
}

/// Nobody listens: given up in a bounded time, which is said and makes the exit code 2.
#[test]
fn a_server_that_is_not_there_is_given_up() {
    let options = LoadOptions {
        url: "http://127.0.0.1:9".to_owned(),
        token: None,
        customers: vec!["acme".to_owned()],
        paths: 10,
        batch_entries: 10,
        connections: 2,
        rate: None,
        duration: None,
        entries: None,
        batches: None,
        duplicates: 0,
        late: 0,
        bad: 0,
        seed: 1,
        start: jiff::Timestamp::UNIX_EPOCH,
        days: None,
        run_id: "test".to_owned(),
        compression: None,
        verify: true,
    };
    let patience = Patience {
        pause_min: Duration::from_millis(1),
        pause_max: Duration::from_millis(10),
        give_up_after: Duration::from_millis(200),
        give_up_at_first_after: Duration::from_millis(50),
    };
    let report = run_with(&options, patience, &Stop::default()).expect("threads");
    assert_eq!(report.exit_code(), 2);
    let mut text = Vec::new();
    report.print(&mut text).expect("a Vec takes all");
    let text = String::from_utf8(text).expect("text");
    assert!(text.contains("ended early: gave up a batch after 0 s"), "{text}");
    assert!(text.contains("batches of unknown fate"), "{text}");
}

/// A server's answers, made of what is counted.
struct Server(BTreeMap<Window, Vec<Request>>);

/// A path with its method, and a family.
type Request = (String, String);

impl Server {
    fn of(traffic: &Traffic, batches: &[Batch]) -> Self {
        let mut windows: BTreeMap<Window, Vec<_>> = BTreeMap::new();
        for batch in batches {
            for entry in &batch.counted {
                let window = Window { customer: batch.customer, minute: entry.minute };
                let resource = &traffic.resources[entry.resource as usize];
                let path = format!("{} {}", METHODS[usize::from(entry.method)], resource.path);
                let family = traffic.agents.families[entry.family as usize].to_owned();
                windows.entry(window).or_default().push((path, family));
            }
        }
        Self(windows)
    }

    fn compare(&self, traffic: &Traffic, mut books: Books) -> Comparison {
        let (places, mut comparison) = (Places::new(traffic), Comparison::default());
        for (window, entries) in &self.0 {
            let (mut by_path, mut by_family) = (BTreeMap::new(), BTreeMap::new());
            for (path, family) in entries {
                *by_path.entry(path).or_insert(0) += 1;
                *by_family.entry(family).or_insert(0) += 1;
            }
            let answer = serde_json::json!({
                "windowStart": "2026-11-26T14:00:00Z",
                "requests": entries.len(),
                "requestsByPath": by_path,
                "requestsByUserAgent": by_family,
            });
            let answered: Answered = serde_json::from_value(answer).expect("a window");
            books.compare(traffic, &places, *window, &answered, &mut comparison);
        }
        books.close(traffic, &mut comparison);
        comparison
    }
}

#[test]
fn books_notice_every_way_to_count_wrong() {
    let traffic = traffic(|shape| shape.late = 10);
    let batches: Vec<_> = (0..40).map(|number| batch(&traffic, number)).collect();
    let books = || {
        let mut books = Books::default();
        for batch in &batches {
            books.count(batch.customer, &batch.counted);
        }
        books
    };
    let right = || Server::of(&traffic, &batches);
    let equal = right().compare(&traffic, books());
    assert_eq!((equal.differences, equal.requests), (0, 40 * ENTRIES as u64));
    assert_eq!(equal.windows, right().0.len() as u64);

    let window = |server: &Server| *server.0.keys().next().expect("a window");
    let wrong = |change: &dyn Fn(&mut Vec<Request>)| {
        let mut server = right();
        let first = window(&server);
        change(server.0.get_mut(&first).expect("the first"));
        server.compare(&traffic, books())
    };
    // Each is seen in the requests, by path and by family, as far as it changes them.
    assert_eq!(wrong(&|entries| entries.push(entries[0].clone())).differences, 3);
    assert_eq!(wrong(&|entries| entries[0].0 = "GET /never".to_owned()).differences, 2);
    assert_eq!(wrong(&|entries| entries[0].1 = "Mosaic".to_owned()).differences, 2);
    let lost = wrong(&|entries| drop(entries.pop()));
    assert_eq!(lost.differences, 3, "{:?}", lost.shown);

    let mut server = right();
    let first = window(&server);
    let entries = server.0.remove(&first).expect("the first");
    let missing = server.compare(&traffic, books());
    assert_eq!(missing.differences, 1, "{:?}", missing.shown);
    assert!(missing.shown[0].ends_with("the window is missing"), "{:?}", missing.shown);
    assert_eq!(missing.windows, equal.windows, "a missing window is compared too");

    let mut server = right();
    server.0.insert(Window { minute: first.minute - 1, ..first }, entries);
    let more = server.compare(&traffic, books());
    assert_eq!(more.differences, 1, "{:?}", more.shown);
    assert!(more.shown[0].ends_with("counted, none sent"), "{:?}", more.shown);
}

/// A batch of unknown fate may be counted or not: its windows are left out, and no others.
#[test]
fn windows_of_unknown_batches_are_left_out() {
    let traffic = traffic(|_| ());
    let batches: Vec<_> = (0..40).map(|number| batch(&traffic, number)).collect();
    let (unknown, known) = batches.split_first().expect("batches");
    for counted in [&batches[..], known] {
        let mut books = Books::default();
        for batch in known {
            books.count(batch.customer, &batch.counted);
        }
        books.leave_out(unknown.customer, &unknown.counted);
        let comparison = Server::of(&traffic, counted).compare(&traffic, books);
        assert_eq!(comparison.differences, 0, "{:?}", comparison.shown);
        assert!(comparison.unknown > 0 && comparison.windows > 0);
    }
}
