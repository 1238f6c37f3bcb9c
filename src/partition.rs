//! Which partition owns a window (invariant W1): the only place that knows the routing hash.
//!
//! The bucket is the window's start minute. The hash is xxh3-64, whose values are fixed, over the
//! bucket in big-endian and the customer; it decides nothing that is stored, so that a changed
//! partition count is harmless.

use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::ids::CustomerId;
use crate::window::Minute;

/// One of the partitions, from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PartitionId(pub u16);

/// The partition that owns the customer's window starting at `bucket`.
///
/// # Panics
/// If there are no partitions.
#[must_use]
pub fn partition_of(customer: &CustomerId, bucket: Minute, partitions: u16) -> PartitionId {
    let hash = xxh3_64_with_seed(customer.as_str().as_bytes(), u64::from(bucket.0));
    let index = hash % u64::from(partitions);
    PartitionId(u16::try_from(index).expect("a remainder is below its divisor"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The values come from another implementation of xxh3-64 (python-xxhash).
    #[test]
    fn the_hash_is_fixed() {
        let golden = [("cus-axon", 29_449_083, 2), ("a", 0, 1), ("tenant:7@eu", 28_000_000, 4)];
        for (customer, minute, partition) in golden {
            let customer = CustomerId::new(customer).expect("valid");
            let found = partition_of(&customer, Minute(minute), 7);
            assert_eq!(found, PartitionId(partition), "{customer} {minute}");
        }
    }

    /// A hot minute spreads over its customers, a busy customer over its minutes.
    #[test]
    fn both_parts_of_the_key_spread() {
        let customer = |n: u32| CustomerId::new(&format!("c{n}")).expect("valid");
        for spread in [
            (0..200).map(|n| partition_of(&customer(n), Minute(1), 8)).collect::<Vec<_>>(),
            (0..200).map(|n| partition_of(&customer(1), Minute(n), 8)).collect::<Vec<_>>(),
        ] {
            for partition in 0..8 {
                let share = spread.iter().filter(|p| p.0 == partition).count();
                assert!((10..=45).contains(&share), "partition {partition} has {share} of 200");
            }
        }
    }
}
