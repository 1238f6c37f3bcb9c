#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    logmill::fuzzing::time(bytes);
});
