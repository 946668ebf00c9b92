//! The entry of libFuzzer to the target beside it.
#![no_main]

#[path = "../ignore.rs"]
mod ignore;

libfuzzer_sys::fuzz_target!(|data: &[u8]| ignore::check(data));
