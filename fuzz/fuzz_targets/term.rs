#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| topos_fuzz::term(bytes));
