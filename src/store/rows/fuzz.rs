//! Entrance for fuzzers: keys and values of the store of any bytes.

use super::{
    Level, decode_counts, decode_totals, encode_counts, encode_totals, key, open, parse_key, seal,
};
use crate::fuzzing::Taken;

/// Whatever is in a row, reading does not panic, and what is understood is, byte for byte, what
/// would be written for it; without its checksum nothing is (S1).
///
/// The input is the length of a key (u8), the key and a value.
pub fn fuzz_rows(input: &[u8]) -> Taken {
    let Some((len, rest)) = input.split_first() else { return false };
    let (row_key, value) = rest.split_at(usize::from(*len).min(rest.len()));
    if let Some((start, customer)) = parse_key(row_key) {
        assert_eq!(key(Level::Minute, start, customer.as_str())[1..], row_key[1..]);
    }
    let sealed = seal(row_key, value.to_vec());
    assert_eq!(open("totals", row_key, &sealed).ok(), Some(value));
    assert!(open("totals", row_key, value).is_err() || value.len() >= 8);
    let totals = decode_totals(value);
    if let Ok(totals) = &totals {
        assert_eq!(encode_totals(totals), value);
    }
    let counts = decode_counts("paths", value);
    if let Ok(counts) = &counts {
        assert_eq!(encode_counts(counts), value);
        assert!(counts.iter().map(|(name, _)| name).is_sorted_by(|a, b| a < b));
    }
    totals.is_ok() || counts.is_ok()
}
