//! The whole engine on a simulated disk, stepped by one thread and seeded by one number.
//!
//! `disk` keeps apart what was synced from what was only written, and at a power cut drops, tears
//! and reorders the latter. `machine` steps the real state machines without threads. `oracle`
//! knows what was sent and acknowledged, and nothing else, and judges what the machine counts.
//! `crashes` puts a crash at every disk operation of a workload, and of the recovery after it.
//! `handover` steps what runs at the same time in the orders that shuttle tries.

mod crashes;
mod disk;
mod handover;
mod machine;
mod oracle;
