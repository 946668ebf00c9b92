//! The entry of libFuzzer to the target beside it.
#![no_main]

#[path = "../documents.rs"]
mod documents;

libfuzzer_sys::fuzz_target!(|data: &[u8]| documents::check(data));
