#![no_main]

#[path = "../targets.rs"]
#[allow(dead_code, reason = "one of them is run")]
mod targets;

libfuzzer_sys::fuzz_target!(|octets: &[u8]| targets::api(octets));
