//! The whole engine on a simulated disk, stepped by one thread and seeded by one number.
//!
//! `disk` keeps apart what was synced from what was only written (`cached`), and at a power cut
//! drops, tears and reorders the latter; any call to it can fail (`fault`). `machine` steps the
//! real state machines without threads, in an order that a seed decides. `oracle` knows what was
//! sent and acknowledged, and nothing else, and judges what the machine counts; `world` has all of
//! these, and `script` what happens in it. `crashes` puts a crash at every disk operation of a
//! workload, and of the recovery after it.
//! `handover` steps what runs at the same time in the orders that shuttle tries.

mod cached;
mod crashes;
mod damage;
pub(crate) mod disk;
pub(crate) mod fault;
mod faults;
mod handover;
mod holes;
pub(crate) mod machine;
mod oracle;
mod script;
mod state;
mod world;

/// A number that the environment sets.
fn number_from(name: &str) -> Option<u64> {
    std::env::var(name).ok().and_then(|text| text.parse().ok())
}

/// Whether everything is wanted, however long it takes.
fn is_full() -> bool {
    std::env::var("LOGMILL_SIM_FULL").is_ok()
}

/// Tells whoever runs the tests.
#[expect(clippy::print_stderr, reason = "a seed must be seen before the case that it names")]
fn say(text: &str) {
    eprintln!("{text}");
}

/// Runs one of many cases, and says which it was if it fails.
fn in_case<T>(context: &str, case: impl FnOnce() -> T) -> T {
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(case)).unwrap_or_else(|panic| {
        say(&format!("failed: {context}"));
        std::panic::resume_unwind(panic)
    })
}
