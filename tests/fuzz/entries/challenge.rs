//! The entry of libFuzzer to the target beside it.
#![no_main]

#[path = "../challenge.rs"]
mod challenge;

libfuzzer_sys::fuzz_target!(|data: &[u8]| challenge::check(data));
