#![no_main]
libfuzzer_sys::fuzz_target!(|input: &[u8]| hancock_fuzz::answers(input));
