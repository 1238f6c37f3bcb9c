//! The golden table, the bounds of the cache, and that no string makes the rule fail.

use std::fmt::Write as _;

use proptest::prelude::*;

use super::{AgentCache, family, table};
use crate::limits;

/// The agents of `golden.tsv` with their families.
fn golden() -> impl Iterator<Item = (&'static str, &'static str)> {
    let lines = include_str!("golden.tsv").lines().filter(|line| !line.starts_with('#'));
    lines.map(|line| line.split_once('\t').expect("each line is family, tab, agent"))
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
    let cache = AgentCache::new();
    for _ in 0..3 {
        for (name, agent) in golden() {
            assert_eq!(&*cache.family(agent), name);
        }
    }
}

#[test]
fn a_stream_of_new_agents_stays_within_the_capacity() {
    let cache = AgentCache::new();
    for number in 0..3 * limits::AGENT_CACHE_ENTRIES_MAX {
        let agent = format!("curl/8.{number}");
        assert_eq!(&*cache.family(&agent), "curl");
    }
    assert!(cache.len() <= limits::AGENT_CACHE_ENTRIES_MAX, "{} agents kept", cache.len());
    assert!(cache.len() >= limits::AGENT_CACHE_ENTRIES_MAX / 4, "{} agents kept", cache.len());
}

#[test]
fn long_agents_are_not_kept() {
    let cache = AgentCache::new();
    let agent = format!("curl/8 {}", "x".repeat(limits::USER_AGENT_BYTES_MAX));
    assert_eq!(&*cache.family(&agent), "curl");
    assert_eq!(cache.len(), 0);
}

#[test]
fn the_cache_is_shared_between_threads() {
    fn shared<T: Send + Sync>() {}
    shared::<AgentCache>();
}

proptest! {
    #[test]
    fn any_string_has_a_family(agent in ".{0,200}") {
        let name = family(&agent);
        prop_assert!(!name.is_empty());
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
