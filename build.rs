//! Lays Chart.js down for the dashboard to embed: `$OUT_DIR/chart.js`, as the project publishes it.
//!
//! The crate that carries it is needed for this text only. As a dependency of the build it gives
//! nothing else to the binary, and what it gives is compared with the hash of Chart.js's release.

#![allow(clippy::disallowed_methods, reason = "a build script reads and writes files")]

use std::path::Path;
use std::{env, fs};

use rustlavel_chart::plugin::CHART_JS;

/// BLAKE3 of `dist/chart.umd.js` in Chart.js 4.5.1.
const RELEASED: &str = "756940497fb2e7019de35c2f5065a1baaef8667d4f374073868d6b524538d876";

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let hash = blake3::hash(CHART_JS.as_bytes());
    assert_eq!(hash.to_hex().as_str(), RELEASED, "rustlavel-chart carries another Chart.js");
    let folder = env::var_os("OUT_DIR").expect("cargo sets OUT_DIR");
    fs::write(Path::new(&folder).join("chart.js"), CHART_JS).expect("OUT_DIR can be written to");
}
