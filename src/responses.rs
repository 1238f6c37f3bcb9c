//! What entries say of the answers that were given: their statuses and their bytes, where they say
//! it. Sums, so that they merge in any order (W2).

use crate::fields::{put_varint, take_varint};

/// Requests by status, and bytes sent. An entry may say either, both or nothing; what none has said
/// takes no room.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Responses {
    /// Each status once, in order.
    statuses: Vec<(u16, u64)>,
    /// `None` until an entry has said its bytes, be they 0.
    bytes: Option<u64>,
}

impl Responses {
    /// Counts what one entry says.
    #[inline]
    pub fn add(&mut self, status: Option<u16>, bytes: Option<u64>) {
        if let Some(status) = status {
            self.add_status(status, 1);
        }
        self.add_bytes(bytes);
    }

    /// Adds `more`.
    pub fn merge(&mut self, more: &Self) {
        for (status, requests) in &more.statuses {
            self.add_status(*status, *requests);
        }
        self.add_bytes(more.bytes);
    }

    /// Each status that was said with its requests, in order.
    pub fn statuses(&self) -> impl ExactSizeIterator<Item = (u16, u64)> {
        self.statuses.iter().copied()
    }

    /// The sum of all bytes that were said; it stays at the largest number that there is.
    #[must_use]
    pub fn bytes(&self) -> Option<u64> {
        self.bytes
    }

    /// Whether nothing was said.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.statuses.is_empty() && self.bytes.is_none()
    }

    /// Requests whose status was said.
    #[must_use]
    pub fn requests(&self) -> u64 {
        self.statuses.iter().map(|(_, requests)| requests).sum()
    }

    /// Whether everything that `part` counted is counted here, among more.
    #[must_use]
    pub fn covers(&self, part: &Self) -> bool {
        let held = |status| {
            let at = self.statuses.binary_search_by_key(&status, |(status, _)| *status);
            at.map_or(0, |at| self.statuses[at].1)
        };
        self.bytes >= part.bytes
            && part.statuses.iter().all(|(status, requests)| held(*status) >= *requests)
    }

    /// About how many bytes of memory it takes beside its own.
    #[must_use]
    pub fn heap_bytes(&self) -> usize {
        self.statuses.len() * size_of::<(u16, u64)>()
    }

    /// Appends it: bytes and 1, or 0 | number of statuses | each: status since the one before, less
    /// 1 | requests. All are varints.
    pub(crate) fn put(&self, bytes: &mut Vec<u8>) {
        put_varint(bytes, self.bytes.map_or(0, |sum| sum.saturating_add(1)));
        put_varint(bytes, self.statuses.len() as u64);
        let mut next = 0;
        for (status, requests) in &self.statuses {
            put_varint(bytes, u64::from(*status) - next);
            next = u64::from(*status) + 1;
            put_varint(bytes, *requests);
        }
    }

    /// Takes it off the front, if it is there and says anything.
    pub(crate) fn take(bytes: &mut &[u8]) -> Option<Self> {
        let sum = take_varint(bytes)?.checked_sub(1);
        let count = usize::try_from(take_varint(bytes)?).ok().filter(|n| *n <= bytes.len())?;
        let mut statuses = Vec::with_capacity(count);
        let (mut next, mut all) = (0_u64, 0_u64);
        for _ in 0..count {
            let status = u16::try_from(next.checked_add(take_varint(bytes)?)?).ok()?;
            next = u64::from(status) + 1;
            let requests = take_varint(bytes)?;
            all = all.checked_add(requests)?;
            statuses.push((status, Some(requests).filter(|n| *n > 0)?));
        }
        let responses = Self { statuses, bytes: sum };
        (!responses.is_empty()).then_some(responses)
    }

    #[inline]
    fn add_status(&mut self, status: u16, requests: u64) {
        match self.statuses.binary_search_by_key(&status, |(status, _)| *status) {
            Ok(at) => self.statuses[at].1 += requests,
            Err(at) => self.statuses.insert(at, (status, requests)),
        }
    }

    #[inline]
    fn add_bytes(&mut self, more: Option<u64>) {
        if let Some(more) = more {
            // One less than all: the largest number stands for what cannot be told any more.
            let sum = self.bytes.unwrap_or_default().saturating_add(more);
            self.bytes = Some(sum.min(u64::MAX - 1));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Said = (Option<u16>, Option<u64>);

    fn of(said: &[Said]) -> Responses {
        let mut responses = Responses::default();
        said.iter().for_each(|(status, bytes)| responses.add(*status, *bytes));
        responses
    }

    #[test]
    fn nothing_said_is_not_zero() {
        assert!(of(&[(None, None)]).is_empty());
        assert_eq!(of(&[(None, Some(0)), (Some(204), None)]).bytes(), Some(0));
        assert_eq!(of(&[(None, Some(u64::MAX)), (None, Some(9))]).bytes(), Some(u64::MAX - 1));
    }

    fn said() -> impl proptest::strategy::Strategy<Value = Vec<Said>> {
        use proptest::{collection::vec, option::of};
        vec((of(100_u16..999), of(0_u64..u64::MAX)), 0..20)
    }

    proptest::proptest! {
        /// W2: whatever the order and wherever it is cut, the sum is the same.
        #[test]
        fn sums_merge_in_any_order(a in said(), b in said(), c in said()) {
            let all = of(&[a.clone(), b.clone(), c.clone()].concat());
            let mut left = of(&a);
            left.merge(&of(&b));
            left.merge(&of(&c));
            let mut right = of(&c);
            let mut tail = of(&b);
            tail.merge(&of(&a));
            right.merge(&tail);
            assert_eq!((&left, &right), (&all, &all));
            assert!(all.covers(&of(&a)) && all.covers(&of(&b)));
            let statuses = [a, b, c].concat().iter().filter(|(s, _)| s.is_some()).count();
            assert_eq!(all.requests(), statuses as u64);
        }

        #[test]
        fn bytes_say_it_again(said in said()) {
            let responses = of(&said);
            let mut bytes = Vec::new();
            responses.put(&mut bytes);
            let taken = Responses::take(&mut bytes.as_slice());
            assert_eq!(taken, (!responses.is_empty()).then_some(responses));
        }
    }
}
