//! The golden table, the bounds of the cache, and that no string makes the rule fail.

use std::fmt::Write as _;

use proptest::prelude::*;

use super::{AgentCache, Kind, family, kind, table};
use crate::limits;
use crate::names::Names;

/// The lines of `golden.tsv`: family, kind, agent.
fn golden_lines() -> impl Iterator<Item = [&'static str; 3]> {
    let lines = include_str!("golden.tsv").lines().filter(|line| !line.starts_with('#'));
    lines.map(|line| {
        let mut columns = line.splitn(3, '\t');
        std::array::from_fn(|_| columns.next().expect("each line is family, kind, agent"))
    })
}

/// The agents of `golden.tsv` with their families.
fn golden() -> impl Iterator<Item = (&'static str, &'static str)> {
    golden_lines().map(|[family, _, agent]| (family, agent))
}

#[test]
fn real_agents_get_the_names_a_person_would_use() {
    let mut wrong = String::new();
    for (name, agent) in golden() {
        let got = family(agent);
        if got != name {
            writeln!(wrong, "{got:?} instead of {name:?}: {agent}").expect("strings take all");
        }
    }
    assert!(wrong.is_empty(), "\n{wrong}");
    assert!(golden().count() >= 80);
}

#[test]
fn families_are_of_the_kind_that_a_person_would_say() {
    let mut wrong = String::new();
    for [family, name, _] in golden_lines() {
        let got = kind(family).name();
        if got != name {
            writeln!(wrong, "{family} is {got} instead of {name}").expect("strings take all");
        }
    }
    assert!(wrong.is_empty(), "\n{wrong}");
    for kind in Kind::ALL {
        assert!(golden_lines().any(|[_, name, _]| name == kind.name()), "no {}", kind.name());
        assert_eq!(Kind::from_name(kind.name()), Some(kind));
    }
    assert_eq!(Kind::from_name("Person"), None);
    assert_eq!(kind(super::NONE), Kind::Unknown);
    assert_eq!(kind("(other)"), Kind::Unknown);
}

#[test]
fn no_name_is_of_two_kinds() {
    for (name, of_one_table) in table::names_with_kinds() {
        assert_eq!(kind(name), of_one_table, "{name} stands in another table too");
    }
}

/// Names that say that they crawl need no table; letters in the middle of a name say nothing.
#[test]
fn crawlers_are_known_by_their_names() {
    for name in ["SomeNewBot", "examplebot-images", "Web Spider", "x.crawler", "BOT", "my_bot_v2"] {
        assert_eq!(kind(name), Kind::Crawler, "{name}");
    }
    for name in ["Abbott", "Botanica", "Spiderman", "bo", "", "微信", "x微bot信"] {
        assert_eq!(kind(name), Kind::Unknown, "{name}");
    }
}

#[test]
fn a_product_is_cut_where_no_name_is_longer() {
    let long = "x".repeat(500);
    assert_eq!(family(&long), "x".repeat(limits::AGENT_PRODUCT_BYTES_MAX));
    assert_eq!(family(&format!("{long}bot/1.0")).len(), limits::AGENT_PRODUCT_BYTES_MAX);
    assert_eq!(
        family(&format!("Mozilla/5.0 (compatible; {long}bot/1.0)")).len(),
        limits::AGENT_PRODUCT_BYTES_MAX
    );
}

#[test]
fn every_key_fits_the_look_up() {
    let (longest, max) = table::longest_key();
    assert!(longest <= max, "a key of {longest} bytes would never be found");
}

#[test]
fn the_cache_answers_as_the_rule() {
    let mut cache = AgentCache::new();
    for _ in 0..3 {
        for (name, agent) in golden() {
            assert_eq!(cache.family(agent), name);
        }
    }
}

#[test]
fn a_stream_of_new_agents_stays_within_the_capacity() {
    let mut cache = AgentCache::new();
    for number in 0..3 * limits::AGENT_CACHE_ENTRIES_MAX {
        let agent = format!("curl/8.{number}");
        assert_eq!(cache.family(&agent), "curl");
    }
    assert!(cache.len() <= limits::AGENT_CACHE_ENTRIES_MAX, "{} agents kept", cache.len());
    assert!(cache.len() >= limits::AGENT_CACHE_ENTRIES_MAX / 4, "{} agents kept", cache.len());
}

/// An agent keeps its number within a batch, and is named again in the next.
#[test]
fn numbers_are_of_one_batch() {
    let mut cache = AgentCache::new();
    let mut names = Names::default();
    for _ in 0..2 {
        names = Names::default();
        cache.begin_batch();
        names.intern("GET /");
        let ids: Vec<_> =
            ["curl/8", "curl/9", "Wget/1", "curl/8"].map(|a| cache.id(a, &mut names).0).into();
        assert_eq!(ids, [1, 1, 2, 1]);
    }
    assert!(names.iter().eq(["GET /", "curl", "Wget"]));
}

proptest! {
    #[test]
    fn any_string_has_a_family(agent in ".{0,200}") {
        let name = family(&agent);
        prop_assert!(!name.is_empty());
        let kind = kind(&name);
        prop_assert_eq!(kind.is_bot(), kind != Kind::Person && kind != Kind::Unknown);
    }

    #[test]
    fn any_cut_of_a_real_agent_has_a_family(
        pick in any::<prop::sample::Index>(),
        cut in 0..300_usize,
    ) {
        let agents: Vec<_> = golden().collect();
        let (_, agent) = agents[pick.index(agents.len())];
        let cut = agent.char_indices().map(|(at, _)| at).nth(cut).unwrap_or(agent.len());
        prop_assert!(!family(&agent[..cut]).is_empty());
        prop_assert!(!family(&agent[cut..]).is_empty());
    }
}
