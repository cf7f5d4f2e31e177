//! `[ironwifi]` and `[ironwifi.push]`.

use super::file::{choice, duration, flag, number, or};
use super::network::{Named, nas_of_name};
use super::reader::Section;
use super::settings::{Ironwifi, Push, ValidUntil};
use super::values::SECOND;

/// `[ironwifi]`.
pub(super) fn ironwifi(section: &Section<'_>, nases: &[Named]) -> Option<Ironwifi> {
    let default = Ironwifi::default();
    let fields = |key: &'static str, example: &str, default: Vec<String>| {
        let names = section.given(key).and_then(|given| {
            let names = given.list(example, |name| name.name("voucher", 64))?;
            let help = format!("write `{key} = {example}`, or leave it out");
            if names.is_empty() {
                given.wrong(format!("`{}` is empty: no field would be read", given.name), help)
            } else {
                Some(names)
            }
        });
        names.unwrap_or(default)
    };
    let ways = [("auto", ValidUntil::Auto), ("portal", ValidUntil::Portal), ("connector", ValidUntil::Connector)];
    let push = push(&section.section("push"), nases);
    Some(Ironwifi {
        code_fields: fields("code_fields", "[\"voucher\"]", default.code_fields),
        device_fields: fields("device_fields", "[\"client_mac\"]", default.device_fields),
        valid_until: choice(section, "valid_until", &ways, default.valid_until),
        push: push?,
    })
}

/// `[ironwifi.push]`; the outer `None` if something needed is wrong or missing.
fn push(section: &Section<'_>, nases: &[Named]) -> Option<Option<Push>> {
    const CONSOLE: &str = "https://console.ironwifi.com/api";
    if !section.is_present() {
        return Some(None);
    }
    let base_url = section
        .required("base_url", "write `base_url = \"https://console.ironwifi.com/api\"`, or the address of your region")
        .and_then(|given| given.base_url(CONSOLE, true, "the key and every code travel in clear"));
    let api_key = section.required_secret("api_key", "api_key_file").map(|(key, _)| key);
    let nas = section
        .required("nas", "write `nas = \"ironwifi\"`: the [[nas]] whose locations and rate limit its users have")
        .and_then(|given| nas_of_name(&given, nases));
    let requests_per_minute = number(section, "requests_per_minute", 1..=6000, 60);
    let request_timeout = duration(section, "request_timeout", "10s", 50..=300 * SECOND);
    let withdraw = flag(section, "withdraw", false);
    Some(Some(Push {
        base_url: base_url?,
        api_key: api_key?,
        nas: nas?,
        requests_per_minute,
        request_timeout: or(request_timeout, 10),
        withdraw,
    }))
}
