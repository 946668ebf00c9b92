//! The entry of libFuzzer to the target beside it.
#![no_main]

#[path = "../compressed.rs"]
mod compressed;
#[path = "../tar.rs"]
mod tar;

libfuzzer_sys::fuzz_target!(|data: &[u8]| compressed::check(data));
