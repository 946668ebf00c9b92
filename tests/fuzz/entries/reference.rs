//! The entry of libFuzzer to the target beside it.
#![no_main]

#[path = "../reference.rs"]
mod reference;

libfuzzer_sys::fuzz_target!(|data: &[u8]| reference::check(data));
