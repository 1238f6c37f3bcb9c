//! Entrance for fuzzers: a claim page of any bytes.

use super::{
    CHECKED_FROM, CHECKSUM_AT, Claim, PAGE_HEADER_BYTES, PageHeader, PageIndex, Seal, checksum,
    decode_entry, encode_entry, entry_len,
};
use crate::disk::{Disk, Layout, PageId};
use crate::fields::u64_at;
use crate::fuzzing::{Files, Taken};
use crate::ids::{Group, Incarnation};
use xxhash_rust::xxh3::xxh3_64;

/// Whatever is on a page, reading does not panic, and an entry that is believed is, byte for byte,
/// the one that its claim makes (A3).
///
/// The first byte says whether all checksums are made right: no fuzzer finds one.
pub fn fuzz_page(input: &[u8]) -> Taken {
    let Some((seal, page)) = input.split_first() else { return false };
    let mut page = page.to_vec();
    if seal & 1 == 1 {
        seal_page(&mut page);
    }
    let path = Layout::new("data").page(PageId { incarnation: Incarnation(1), number: 0 });
    let file = Files::one(path.clone(), &page).open(&path).expect("there");
    let Some(header) = PageHeader::decode(&page) else { return false };
    assert_eq!(header.encode(), page[..PAGE_HEADER_BYTES]);
    assert_eq!(PageHeader::read(file.as_ref()).expect("readable"), Some(header));

    let index = PageIndex::load(file.as_ref(), header.id, Seal::default()).expect("readable");
    let end = index.end();
    assert!((PAGE_HEADER_BYTES..=page.len()).contains(&end), "the next entry goes on the page");
    for name in index.names() {
        assert!(index.contains(name));
        let at = index.offsets[&name] as usize;
        let entry = decode_entry(&page[at..], header.id.incarnation).expect("read before");
        let mut claim = Claim::new(entry.customer, entry.key, entry.digest, entry.receipt);
        let is_named_right = claim.name == name;
        claim.name = name;
        assert_eq!(index.find(&claim), Some(entry), "T1: customer and key are compared in full");
        let groups = [entry.group..=entry.group];
        assert!(index.names_of(&groups).contains(&name));
        let mut again = Vec::new();
        encode_entry(&mut again, &claim, entry.group, header.id.incarnation);
        assert_eq!(again, page[at..at + again.len()]);
        let other = Claim { customer: "another", ..claim };
        assert!(entry.customer == "another" || index.find(&other).is_none(), "T1");
        assert!(is_named_right || seal & 1 == 1, "a hash of other bytes was found by chance");
    }
    assert_eq!(index.names_of(&[Group(0)..=Group(u64::MAX)]).len(), index.names().count());
    index.names().next().is_some()
}

fn seal_page(page: &mut [u8]) {
    let Some(incarnation) = u64_at(page, 8).map(Incarnation) else { return };
    let Some((header, entries)) = page.split_at_mut_checked(PAGE_HEADER_BYTES) else { return };
    let sum = xxh3_64(&header[..PAGE_HEADER_BYTES - 8]);
    header[PAGE_HEADER_BYTES - 8..].copy_from_slice(&sum.to_le_bytes());
    let mut at = 0;
    while let Some(len) = entry_len(&entries[at..]) {
        let entry = &mut entries[at..at + len];
        let sum = checksum(entry, incarnation);
        entry[CHECKSUM_AT..CHECKED_FROM].copy_from_slice(&sum.to_le_bytes());
        at += len;
    }
}
