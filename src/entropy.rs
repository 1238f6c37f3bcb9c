//! Randomness as a handle, so that a simulator can seed it.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};

/// Where random numbers come from.
pub trait Entropy: Send + Sync + 'static {
    /// 64 random bits that nobody outside can guess.
    fn bits(&self) -> u64;

    /// 128 random bits.
    fn bits128(&self) -> u128 {
        (u128::from(self.bits()) << 64) | u128::from(self.bits())
    }
}

/// A generator that the operating system gave its key: each number is a keyed hash of how many came
/// before it. Request ids are drawn from it and told to clients, which must learn nothing from them
/// of the ids of journal segments; and a call to the system costs more than all else in an id.
#[derive(Debug, Default, Clone, Copy)]
pub struct SystemEntropy;

static KEY: LazyLock<[u8; 32]> = LazyLock::new(key);
static DRAWN: AtomicU64 = AtomicU64::new(0);

#[expect(clippy::disallowed_methods, reason = "the one owner of the machine's randomness")]
fn key() -> [u8; 32] {
    let mut key = [0; 32];
    let filled = rustix::rand::getrandom(&mut key[..], rustix::rand::GetRandomFlags::empty());
    // Cannot fail for so few bytes once the machine is up (getrandom(2), "no more than 256 bytes").
    assert_eq!(filled.ok(), Some(key.len()), "the operating system gives random numbers");
    key
}

impl Entropy for SystemEntropy {
    fn bits(&self) -> u64 {
        let [number, ..] = draw();
        number
    }

    fn bits128(&self) -> u128 {
        let [high, low, ..] = draw();
        u128::from(high) << 64 | u128::from(low)
    }
}

fn draw() -> [u64; 4] {
    let drawn = DRAWN.fetch_add(1, Ordering::Relaxed);
    let hash = blake3::keyed_hash(&KEY, &drawn.to_le_bytes());
    let (numbers, _) = hash.as_bytes().as_chunks();
    std::array::from_fn(|at| u64::from_le_bytes(numbers[at]))
}
