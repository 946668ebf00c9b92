//! The entry of libFuzzer to the target beside it.
#![no_main]

#[path = "../parser.rs"]
mod parser;

libfuzzer_sys::fuzz_target!(|data: &[u8]| parser::check(data));
