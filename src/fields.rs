//! Numbers in the files of claims, journal and store: little-endian at fixed places, or varints one
//! after the other.
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

/// Appends a varint (LEB128): seven bits a byte, least significant first, the high bit says that
/// more follow.
pub(crate) fn put_varint(bytes: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        bytes.push(0x80 | (number & 0x7f) as u8);
        number >>= 7;
    }
    bytes.push((number & 0x7f) as u8);
}

/// Takes a varint off the front, if it is there in its shortest form.
pub(crate) fn take_varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut number = 0;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        number |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            // Only the shortest form of a number is ever written, and 64 bits end in the tenth.
            let is_shortest = *byte != 0 || shift == 0;
            return (is_shortest && (shift < 63 || *byte == 1)).then_some(number);
        }
    }
    None
}

/// Appends bytes with their number before them.
pub(crate) fn put_bytes(bytes: &mut Vec<u8>, more: &[u8]) {
    put_varint(bytes, more.len() as u64);
    bytes.extend_from_slice(more);
}

/// Takes bytes off the front that have their number before them.
pub(crate) fn take_bytes<'a>(bytes: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = usize::try_from(take_varint(bytes)?).ok()?;
    let (taken, rest) = bytes.split_at_checked(length)?;
    *bytes = rest;
    Some(taken)
}

/// Takes text off the front that has its number of bytes before it.
pub(crate) fn take_text<'a>(bytes: &mut &'a [u8]) -> Option<&'a str> {
    std::str::from_utf8(take_bytes(bytes)?).ok()
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

    proptest::proptest! {
        #[test]
        fn varints_come_back(number: u64) {
            let mut bytes = Vec::new();
            put_varint(&mut bytes, number);
            assert_eq!(take_varint(&mut bytes.as_slice()), Some(number));
        }
    }
}
