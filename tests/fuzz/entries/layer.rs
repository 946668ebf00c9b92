//! The entry of libFuzzer to the target beside it.
#![no_main]

#[path = "../layer.rs"]
mod layer;
#[path = "../scratch.rs"]
mod scratch;
#[path = "../tar.rs"]
mod tar;

libfuzzer_sys::fuzz_target!(|data: &[u8]| layer::check(data));
