//! The entry of libFuzzer to the target beside it.
#![no_main]

#[path = "../records.rs"]
mod records;
#[path = "../scratch.rs"]
mod scratch;

libfuzzer_sys::fuzz_target!(|data: &[u8]| records::check(data));
