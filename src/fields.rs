//! Numbers in the files of claims and journal: little-endian, at fixed places.
//!
//! A number that is not all there is `None`: bytes that come from a disk prove nothing.

/// The 32-bit number at a place.
#[must_use]
pub(crate) fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().map(|field| u32::from_le_bytes(*field))
}

/// The 64-bit number at a place.
#[must_use]
pub(crate) fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    bytes.get(at..)?.first_chunk().map(|field| u64::from_le_bytes(*field))
}

/// The 128-bit number at a place.
#[must_use]
pub(crate) fn u128_at(bytes: &[u8], at: usize) -> Option<u128> {
    bytes.get(at..)?.first_chunk().map(|field| u128::from_le_bytes(*field))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_there_whole_or_not_at_all() {
        let bytes: Vec<u8> = (1..=17).collect();
        assert_eq!(u32_at(&bytes, 1), Some(0x0504_0302));
        assert_eq!(u64_at(&bytes, 9), Some(0x1110_0f0e_0d0c_0b0a));
        assert_eq!(u128_at(&bytes, 1), Some(0x1110_0f0e_0d0c_0b0a_0908_0706_0504_0302));
        assert_eq!(
            (u32_at(&bytes, 14), u64_at(&bytes, 10), u128_at(&bytes, 2)),
            (None, None, None)
        );
        assert_eq!(u32_at(&bytes, 99), None);
    }
}
