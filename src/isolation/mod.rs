//! T1 by generated input: whatever ids, keys and paths say, nothing leaves its directory and no
//! customer meets another's claims or rows. Over HTTP, `service/tests/isolation.rs` goes on.
//!
//! A share runs with every `cargo test`; `LOGMILL_SIM_FULL=1` runs ten million ids.

mod names;
mod rows;

use crate::entropy::Entropy;
use crate::testing::SeededEntropy;

/// What customer ids are made of, and what a careless path or key would trip over.
const TAME: [&str; 14] =
    ["a", "b", "A", "0", "9", ".", "_", ":", "@", "-", "..", "acme", "acme:", "x-customer-id"];
const HOSTILE: [&str; 30] = [
    "/",
    "../",
    "..\\",
    "\\",
    "\0",
    "%2e%2e%2f",
    "%00",
    "%",
    "\"",
    "\\\"",
    "\\\\",
    " ",
    "\t",
    "\r\n",
    "\n",
    "\u{7f}",
    "\u{1b}[2J",
    "~",
    "C:",
    "CON",
    "é",
    "\u{301}",
    "\u{202e}",
    "\u{ff0f}",
    "\u{2024}",
    "😀",
    "claims/names",
    "store.redb",
    "\u{0}LOCK",
    "k",
];

/// A text that may be an id, or may want to be more than one.
fn text(chance: &SeededEntropy) -> String {
    let pick = |parts: &[&'static str]| {
        let at = usize::try_from(chance.below(parts.len() as u64)).expect("small");
        parts[at]
    };
    let is_tame = !chance.one_in(3);
    let mut text = String::new();
    for _ in 0..chance.below(6) {
        text.push_str(if is_tame || chance.one_in(2) { pick(&TAME) } else { pick(&HOSTILE) });
    }
    if chance.one_in(4) {
        // Numbers keep generated ids apart from each other.
        text.push_str(&format!("{:x}", chance.bits() >> (chance.below(15) * 4)));
    }
    if chance.one_in(40) {
        let part = pick(&TAME);
        text.push_str(&part.repeat(usize::try_from(chance.below(300)).expect("small")));
    }
    match chance.below(8) {
        0 => format!("\"{text}\""),
        1 => format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"")),
        _ => text,
    }
}
