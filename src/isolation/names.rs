//! Ids and the paths that are built for them.

use std::path::Path;

use xxhash_rust::xxh3::xxh3_64;

use super::text;
use crate::claim::{Claim, Receipt};
use crate::disk::{Layout, PageId};
use crate::entropy::Entropy;
use crate::entry::{LogEntry, Said};
use crate::http::fuzz;
use crate::ids::{ContentDigest, CustomerId, IdempotencyKey, Incarnation};
use crate::testing::SeededEntropy;
use crate::window::Minute;

const RECEIPT: Receipt = Receipt { entries: 1, windows: 1 };

fn cases() -> u64 {
    let full = std::env::var("LOGMILL_SIM_FULL").is_ok();
    if full { 10_000_000 } else { 200_000 }
}

fn is_hex(text: &str, digits: usize) -> bool {
    text.len() == digits && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

/// The one form that a claim's path has.
fn is_claim_path(path: &Path) -> bool {
    let parts: Option<Vec<_>> = path.iter().map(|part| part.to_str()).collect();
    match parts.as_deref() {
        Some(["data", "claims", "names", shard, name]) => {
            is_hex(shard, 1) && is_hex(name, 32) && name.starts_with(shard)
        }
        _ => false,
    }
}

/// The files that are named by numbers alone, for any number.
fn numbered_paths(layout: &Layout, chance: &SeededEntropy) {
    let number = chance.bits() >> chance.below(64);
    let name = |path: &Path, folder: &str| {
        let name = path.strip_prefix(folder).ok().and_then(Path::to_str).expect("in its folder");
        assert!(!name.contains('/'));
        name.to_owned()
    };
    let segment = name(&layout.segment(number), "data/journal");
    assert_eq!(Layout::parse_segment(&segment), Some(number));
    let spare = name(&layout.spare(number), "data/journal");
    assert_eq!(Layout::parse_spare(&spare), Some(number));
    let id = PageId { incarnation: Incarnation(chance.bits()), number };
    let page = name(&layout.page(id), "data/claims/pages");
    assert_eq!(Layout::parse_page(&page), Some(id));
    for name in [segment, spare, page] {
        let is_plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-.".contains(&b);
        assert!(name.bytes().all(is_plain) && !name.contains(".."), "{name}");
    }
}

fn is_entry(path: &str, user_agent: &str) -> bool {
    let (status, bytes) = (None, None);
    let said = Said { method: Some("GET"), path, user_agent, status, bytes, is_clean: false };
    LogEntry::new(Minute(0), said).is_ok()
}

/// T1: an id that is taken is one that the documentation allows; a claim's path is made of a hash
/// alone; and the claims of two different pairs of customer and key never have the same name.
#[test]
fn no_id_reaches_a_path_and_no_two_claims_meet() {
    let layout = Layout::new("data");
    let mut names = Vec::new();
    let (mut claims, mut entries) = (0, 0);
    for seed in 0..cases() {
        let chance = SeededEntropy::seeded(seed);
        let (customer, key, path) = (text(&chance), text(&chance), text(&chance));
        [&customer, &key].into_iter().for_each(|text| fuzz::ids(text));
        numbered_paths(&layout, &chance);
        entries += u64::from(is_entry(&path, &key));
        let ids = (CustomerId::new(&customer), IdempotencyKey::from_header(&key));
        let (Ok(customer), Ok(key)) = ids else { continue };
        claims += 1;
        let (customer, key) = (customer.as_str(), key.as_str());
        let mut pairs = vec![(customer.to_owned(), key.to_owned())];
        // The same characters in the same order, parted elsewhere.
        if let Some((rest, last)) = customer.split_at_checked(customer.len() - 1) {
            pairs.push((rest.to_owned(), format!("{last}{key}")));
        }
        for (customer, key) in pairs {
            let name = Claim::new(&customer, &key, ContentDigest(0), RECEIPT).name();
            let path = layout.name(name);
            assert!(is_claim_path(&path), "{customer:?} {key:?}: {}", path.display());
            // No id holds a line end, so that the pair is told by this text.
            names.push((name, xxh3_64(format!("{customer}\n{key}").as_bytes())));
        }
    }
    assert!(claims > cases() / 10 && entries > cases() / 10, "{claims} claims, {entries} entries");
    names.sort_unstable();
    for pair in names.windows(2) {
        assert!(pair[0].0 != pair[1].0 || pair[0].1 == pair[1].1, "two pairs have one name");
    }
}
