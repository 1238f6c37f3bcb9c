//! Randomness as a handle, so that a simulator can seed it.

/// Where random numbers come from.
pub trait Entropy: Send + Sync + 'static {
    /// 64 random bits that nobody outside can guess.
    fn bits(&self) -> u64;

    /// 128 random bits.
    fn bits128(&self) -> u128 {
        (u128::from(self.bits()) << 64) | u128::from(self.bits())
    }
}

/// The operating system's generator.
#[derive(Debug, Default, Clone, Copy)]
pub struct SystemEntropy;

impl Entropy for SystemEntropy {
    #[expect(clippy::disallowed_methods, reason = "the one owner of the machine's randomness")]
    fn bits(&self) -> u64 {
        let mut bytes = [0; 8];
        let filled = rustix::rand::getrandom(&mut bytes[..], rustix::rand::GetRandomFlags::empty());
        // Cannot fail for 8 bytes once the machine is up (getrandom(2), "no more than 256 bytes").
        assert_eq!(filled.ok(), Some(bytes.len()), "the operating system gives random numbers");
        u64::from_le_bytes(bytes)
    }
}
