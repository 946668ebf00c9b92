//! The entry of libFuzzer to the target beside it.
#![no_main]

#[path = "../git.rs"]
mod git;

libfuzzer_sys::fuzz_target!(|data: &[u8]| git::check(data));
