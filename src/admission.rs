//! Admission: every batch takes a permit before its body is read, and gives it back when the
//! workers have counted it. What does not fit is refused at once; nothing waits in memory.
//!
//! One customer cannot crowd out the others (T1): once the server is half full, a customer that
//! holds more than its share is refused, so that the rest of the room is left to everybody else.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use dashmap::DashMap;
use hashbrown::HashMap;

use crate::ids::CustomerId;
use crate::limits;

/// How much may be under way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AdmissionLimits {
    /// Bytes of batches.
    pub bytes: u64,
    /// Batches.
    pub batches: u64,
    /// The share of both that a customer keeps when the server is more than half full.
    pub customer_percent: u64,
    /// Customers whose share is another, in percent.
    pub customer_shares: HashMap<CustomerId, u64>,
}

impl AdmissionLimits {
    /// Whether room is getting scarce: from here on, shares and pace are looked at.
    fn is_half_full(&self, bytes: u64, batches: u64) -> bool {
        bytes > self.bytes / 2 || batches > self.batches / 2
    }

    /// What a customer keeps of both when room is scarce.
    fn share_of(&self, customer: &CustomerId) -> Usage {
        let percent = self.customer_shares.get(customer).copied().unwrap_or(self.customer_percent);
        let share = |limit: u64| limit / 100 * percent;
        Usage { bytes: share(self.bytes), batches: share(self.batches).max(1) }
    }

    /// The bytes of all batches that one of this size may add up to.
    fn room_for(&self, bytes: u64) -> u64 {
        let kept = if bytes > limits::ADMISSION_SMALL_BYTES {
            self.bytes / limits::ADMISSION_SMALL_PART
        } else {
            0
        };
        self.bytes - kept
    }
}

/// Why a batch was not admitted. Its key is free (A4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Full {
    /// The customer holds its share already.
    Customer,
    /// There is no room for anybody.
    Server,
}

#[derive(Debug, Default)]
struct Usage {
    bytes: u64,
    batches: u64,
}

/// Counts what is under way.
#[derive(Debug)]
pub struct Admission {
    limits: AdmissionLimits,
    bytes: AtomicU64,
    batches: AtomicU64,
    /// Only customers that have something under way.
    customers: DashMap<CustomerId, Usage>,
}

/// Room for one batch; given back when dropped.
#[derive(Debug)]
pub struct Permit {
    admission: Arc<Admission>,
    customer: CustomerId,
    bytes: u64,
}

impl Admission {
    /// Nothing is under way yet.
    #[must_use]
    pub fn new(limits: AdmissionLimits) -> Arc<Self> {
        let (bytes, batches) = (AtomicU64::new(0), AtomicU64::new(0));
        Arc::new(Self { limits, bytes, batches, customers: DashMap::new() })
    }

    /// Takes room for a batch of this many bytes.
    ///
    /// # Errors
    /// [`Full`] says who has to wait: the customer, or everybody.
    pub fn admit(self: &Arc<Self>, customer: &CustomerId, bytes: u64) -> Result<Permit, Full> {
        let bytes = bytes + limits::ADMISSION_BATCH_OVERHEAD_BYTES;
        self.take(customer, bytes, 1, bytes)?;
        Ok(Permit { admission: Arc::clone(self), customer: customer.clone(), bytes })
    }

    /// Bytes and batches under way.
    #[must_use]
    pub fn inflight(&self) -> (u64, u64) {
        (self.bytes.load(Ordering::Relaxed), self.batches.load(Ordering::Relaxed))
    }

    /// Takes more room for a batch that will hold `total` bytes of it then.
    fn take(
        &self,
        customer: &CustomerId,
        bytes: u64,
        batches: u64,
        total: u64,
    ) -> Result<(), Full> {
        // The entry's lock makes check and update one step for the customer.
        let mut usage = self.customers.entry(customer.clone()).or_default();
        let all_bytes = self.bytes.fetch_add(bytes, Ordering::Relaxed) + bytes;
        let all_batches = self.batches.fetch_add(batches, Ordering::Relaxed) + batches;
        let limits = &self.limits;
        let is_over_share = || {
            let share = limits.share_of(customer);
            usage.bytes + bytes > share.bytes || usage.batches + batches > share.batches
        };
        let refused = if limits.is_half_full(all_bytes, all_batches) && is_over_share() {
            Full::Customer
        } else if all_bytes > limits.room_for(total) || all_batches > limits.batches {
            Full::Server
        } else {
            usage.bytes += bytes;
            usage.batches += batches;
            return Ok(());
        };
        drop(usage);
        self.give_back_all(bytes, batches);
        self.forget_if_idle(customer);
        Err(refused)
    }

    fn give_back(&self, customer: &CustomerId, bytes: u64, batches: u64) {
        // The only batch of a customer takes its entry along.
        let gone = self.customers.remove_if_mut(customer, |_, usage| {
            usage.bytes -= bytes;
            usage.batches -= batches;
            usage.batches == 0
        });
        drop(gone);
        self.give_back_all(bytes, batches);
    }

    fn give_back_all(&self, bytes: u64, batches: u64) {
        self.bytes.fetch_sub(bytes, Ordering::Relaxed);
        self.batches.fetch_sub(batches, Ordering::Relaxed);
    }

    fn forget_if_idle(&self, customer: &CustomerId) {
        self.customers.remove_if(customer, |_, usage| usage.batches == 0);
    }
}

impl Permit {
    /// Whose batch it is for.
    #[must_use]
    pub fn customer(&self) -> &CustomerId {
        &self.customer
    }

    /// Whether others may soon need this room more.
    #[must_use]
    pub fn is_scarce(&self) -> bool {
        let (bytes, batches) = self.admission.inflight();
        self.admission.limits.is_half_full(bytes, batches)
    }

    /// Makes the permit hold at least this many bytes of body.
    ///
    /// # Errors
    /// As [`Self::resize`].
    pub fn reserve(&mut self, bytes: u64) -> Result<(), Full> {
        let has_room = bytes + limits::ADMISSION_BATCH_OVERHEAD_BYTES <= self.bytes;
        if has_room { Ok(()) } else { self.resize(bytes) }
    }

    /// Makes the permit hold this many bytes of body.
    ///
    /// # Errors
    /// [`Full`] if there is no room to grow; the permit stays as it was.
    pub fn resize(&mut self, bytes: u64) -> Result<(), Full> {
        let bytes = bytes + limits::ADMISSION_BATCH_OVERHEAD_BYTES;
        if bytes > self.bytes {
            self.admission.take(&self.customer, bytes - self.bytes, 0, bytes)?;
        } else if bytes < self.bytes {
            self.admission.give_back(&self.customer, self.bytes - bytes, 0);
        }
        self.bytes = bytes;
        Ok(())
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.admission.give_back(&self.customer, self.bytes, 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admission() -> Arc<Admission> {
        Admission::new(AdmissionLimits {
            bytes: 1_000_000,
            batches: 100,
            customer_percent: 25,
            customer_shares: [(customer("big"), 40), (customer("tiny"), 5)].into(),
        })
    }

    fn customer(name: &str) -> CustomerId {
        CustomerId::new(name).expect("valid")
    }

    #[test]
    fn permits_come_back() {
        let admission = admission();
        let mut permit = admission.admit(&customer("a"), 100_000).expect("room");
        permit.resize(300_000).expect("room to grow");
        permit.resize(50_000).expect("smaller is always fine");
        assert_eq!(admission.inflight().1, 1);
        drop(permit);
        assert_eq!(admission.inflight(), (0, 0));
        assert!(admission.customers.is_empty());
    }

    /// T1: a customer alone may use more than its share, but never the last half of the room.
    #[test]
    fn one_customer_cannot_take_the_room_of_others() {
        let admission = admission();
        let mut held = Vec::new();
        let refused = loop {
            match admission.admit(&customer("busy"), 10_000) {
                Ok(permit) => held.push(permit),
                Err(full) => break full,
            }
        };
        assert_eq!(refused, Full::Customer);
        assert!(admission.inflight().0 <= 500_000);
        let other = admission.admit(&customer("other"), 200_000).expect("room for others");
        drop((held, other));
        assert_eq!(admission.inflight(), (0, 0));
    }

    /// T1: what a customer keeps when room is scarce is its own share, of bytes and of batches.
    #[test]
    fn named_customers_have_shares_of_their_own() {
        let overhead = limits::ADMISSION_BATCH_OVERHEAD_BYTES;
        // Others hold half of the batches in a few bytes, or half of the bytes in a few batches.
        let by_batches = (51, 0, 0, [("tiny", 5), ("usual", 25), ("big", 40)]);
        let each = 20_000 - overhead;
        let by_bytes = (5, 100_000, each, [("tiny", 2), ("usual", 12), ("big", 20)]);
        for (others, held, bytes, most) in [by_batches, by_bytes] {
            for (name, most) in most {
                let admission = admission();
                let of_others = |n| admission.admit(&customer(&format!("c{n}")), held);
                let others: Vec<_> = (0..others).map(|n| of_others(n).expect("room")).collect();
                let admit = || admission.admit(&customer(name), bytes);
                let own: Vec<_> = std::iter::from_fn(|| admit().ok()).collect();
                assert_eq!(own.len(), most, "{name} with batches of {bytes} bytes");
                assert_eq!(admit().expect_err("it holds its share"), Full::Customer);
                drop((others, own));
                assert_eq!(admission.inflight(), (0, 0));
            }
        }
    }

    #[test]
    fn a_full_server_refuses_everybody() {
        let admission = admission();
        let hold = |n: u32| admission.admit(&customer(&format!("c{n}")), 240_000);
        let held: Vec<_> = (0..3).map(|n| hold(n).expect("room")).collect();
        assert_eq!(hold(9).expect_err("no room"), Full::Server);
        let small = |n: u32| admission.admit(&customer(&format!("s{n}")), 60_000);
        let more: Vec<_> = (0..4).map(|n| small(n).expect("the last part is for these")).collect();
        assert_eq!(small(9).expect_err("no room"), Full::Server);
        drop(more);
        drop(held);
        assert!(hold(9).is_ok());
    }
}
