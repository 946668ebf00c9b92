//! The entry of libFuzzer to the target beside it.
#![no_main]

#[path = "../tar.rs"]
mod tar;

libfuzzer_sys::fuzz_target!(|data: &[u8]| tar::check(data));
