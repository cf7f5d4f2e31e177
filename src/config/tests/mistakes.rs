//! Each mistake as a person reads it.

use super::*;

/// What is said of a whole file.
fn report(text: &str) -> String {
    from_str(text, Path::new("spotgate.toml"), &no_env).unwrap_err().to_string()
}

/// What is said of a file that is sound but for what is added from line 9 on.
fn added(text: &str) -> String {
    let path = Path::new("spotgate.toml");
    let sound = "[source]\nkind = \"file\"\npath = \"tokens.json\"\n[[nas]]\nname = \"front-desk\"\naddress = \"192.168.88.1\"\n";
    let text = format!("{sound}secret = \"{SECRET}\"\n\n{text}");
    from_str(&text, path, &no_env).unwrap_err().to_string()
}

#[test]
fn a_file_with_nothing_in_it() {
    insta::assert_snapshot!(report(""), @r#"
    error: spotgate.toml: there is no [source], which must have `kind`
     = help: write [source] and below it `kind = "nexudus"` or `kind = "file"`

    error: spotgate.toml: there is no [[nas]]: nobody could ask
     = help: add the router that asks:
             [[nas]]
             name = "front-desk"
             address = "192.168.88.1"
             secret_file = "front-desk.secret"
    "#);
}

#[test]
fn a_mistyped_key() {
    insta::assert_snapshot!(added("[policy]\nmin_sesion = \"60s\""), @r#"
    error: spotgate.toml:10:1: [policy] has no key `min_sesion`
       |
    10 | min_sesion = …
       | ^^^^^^^^^^
       = help: did you mean `min_session`?
    "#);
}

#[test]
fn a_key_of_another_section() {
    insta::assert_snapshot!(added("[cache]\nmirror_interval = \"60s\""), @r#"
    error: spotgate.toml:10:1: [cache] has no key `mirror_interval`
       |
    10 | mirror_interval = …
       | ^^^^^^^^^^^^^^^
       = help: `mirror_interval` belongs below [source.nexudus]
    "#);
}

#[test]
fn a_key_that_nobody_knows() {
    insta::assert_snapshot!(added("[throttle]\ncolour = \"red\""), @r#"
    error: spotgate.toml:10:1: [throttle] has no key `colour`
       |
    10 | colour = …
       | ^^^^^^
       = help: remove the line; [throttle] knows device_failures, device_window, nas_failures
    "#);
}

#[test]
fn a_mistyped_section() {
    insta::assert_snapshot!(added("[polcy]\nmin_session = \"60s\""), @r#"
    error: spotgate.toml:9:2: there is no section `polcy`
      |
    9 | [polcy]
      |  ^^^^^
      = help: did you mean `[policy]`?
    "#);
}

#[test]
fn a_section_without_its_parent() {
    insta::assert_snapshot!(added("[api_key]\nname = \"script\""), @r#"
    error: spotgate.toml:9:2: there is no section `api_key`
      |
    9 | [api_key]
      |  ^^^^^^^
      = help: did you mean `[[http.api_key]]`?
    "#);
}

#[test]
fn a_duration_without_unit() {
    insta::assert_snapshot!(added("[policy]\ninterim_interval = 300"), @r#"
    error: spotgate.toml:10:20: `policy.interim_interval` is a number without a unit
       |
    10 | interim_interval = 300
       |                    ^^^
       = help: write `interim_interval = "5m"`; units are ms, s, m, h and d
    "#);
}

#[test]
fn a_duration_without_unit_in_quotes() {
    insta::assert_snapshot!(added("[policy]\ninterim_interval = \"300\""), @r#"
    error: spotgate.toml:10:20: `policy.interim_interval` is no duration
       |
    10 | interim_interval = "300"
       |                    ^^^^^
       = help: write `interim_interval = "5m"`; units are ms, s, m, h and d, also together: "1h 30m"
    "#);
}

#[test]
fn a_duration_that_is_none() {
    insta::assert_snapshot!(added("[cache]\nfresh_for = \"soon\""), @r#"
    error: spotgate.toml:10:13: `cache.fresh_for` is no duration
       |
    10 | fresh_for = "soon"
       |             ^^^^^^
       = help: write `fresh_for = "60s"`; units are ms, s, m, h and d, also together: "1h 30m"
    "#);
}

#[test]
fn a_duration_below_its_floor() {
    insta::assert_snapshot!(added("[policy]\ninterim_interval = \"10s\""), @r#"
    error: spotgate.toml:10:20: `policy.interim_interval` must be from 1m to 24h
       |
    10 | interim_interval = "10s"
       |                    ^^^^^
       = help: write `interim_interval = "5m"`
    "#);
}

#[test]
fn a_duration_of_nothing() {
    insta::assert_snapshot!(added("[source.nexudus]\nmirror_interval = \"0s\""), @r#"
    error: spotgate.toml:10:19: `source.nexudus.mirror_interval` must be from 1s to 3650d
       |
    10 | mirror_interval = "0s"
       |                   ^^^^
       = help: write `mirror_interval = "60s"`

    warning: spotgate.toml:10:19: `source.nexudus.mirror_interval` has no effect: `source.kind` is "file"
       |
    10 | mirror_interval = "0s"
       |                   ^^^^
       = help: remove the line
    "#);
}

#[test]
fn a_duration_with_a_part_of_a_second() {
    insta::assert_snapshot!(added("[policy]\nidle_timeout = \"1500ms\""), @r#"
    error: spotgate.toml:10:16: `policy.idle_timeout` must be whole seconds: routers know no parts of one
       |
    10 | idle_timeout = "1500ms"
       |                ^^^^^^^^
       = help: write `idle_timeout = "15m"`
    "#);
}

#[test]
fn a_negative_duration() {
    insta::assert_snapshot!(added("[throttle]\ndevice_window = \"-10m\""), @r#"
    error: spotgate.toml:10:17: `throttle.device_window` is no duration
       |
    10 | device_window = "-10m"
       |                 ^^^^^^
       = help: write `device_window = "10m"`; units are ms, s, m, h and d, also together: "1h 30m"
    "#);
}

#[test]
fn a_session_shorter_than_the_shortest() {
    insta::assert_snapshot!(added("[policy]\nmin_session = \"2h\"\nmax_session = \"1h\""), @r#"
    error: spotgate.toml:10:15: `policy.min_session` (7200 s) is more than `policy.max_session` (3600 s): nobody could log in
       |
    10 | min_session = "2h"
       |               ^^^^
       = help: write a `min_session` below `max_session`, e.g. `min_session = "60s"`
    "#);
}

#[test]
fn a_word_not_in_the_list() {
    insta::assert_snapshot!(added("[policy]\nzero_minutes = \"denied\""), @r#"
    error: spotgate.toml:10:16: `policy.zero_minutes` must be "deny" or "unlimited"
       |
    10 | zero_minutes = "denied"
       |                ^^^^^^^^
       = help: write one of these words
    "#);
}

#[test]
fn a_word_far_from_the_list() {
    insta::assert_snapshot!(added("[telemetry]\nlog = \"syslog\""), @r#"
    error: spotgate.toml:10:7: `telemetry.log` must be "text", "json" or "journald"
       |
    10 | log = "syslog"
       |       ^^^^^^^^
       = help: write one of these words
    "#);
}

#[test]
fn a_flag_in_quotes() {
    insta::assert_snapshot!(added("[policy]\nignore_case = \"yes\""), @r#"
    error: spotgate.toml:10:15: `policy.ignore_case` must be true or false, without quotes
       |
    10 | ignore_case = "yes"
       |               ^^^^^
       = help: write `ignore_case = true` or `ignore_case = false`
    "#);
}

#[test]
fn a_number_in_quotes() {
    insta::assert_snapshot!(added("[policy]\ndefault_user_limit = \"2\""), @r#"
    error: spotgate.toml:10:22: `policy.default_user_limit` must be a whole number from 1 to 10000, without quotes
       |
    10 | default_user_limit = "2"
       |                      ^^^
       = help: write `default_user_limit = 1`
    "#);
}

#[test]
fn a_number_out_of_bounds() {
    insta::assert_snapshot!(added("[throttle]\ndevice_failures = 0"), @r#"
    error: spotgate.toml:10:19: `throttle.device_failures` must be a whole number from 1 to 1000000000, without quotes
       |
    10 | device_failures = 0
       |                   ^
       = help: write `device_failures = 10`
    "#);
}

#[test]
fn a_text_without_quotes() {
    insta::assert_snapshot!(added("[portal]\ntitle = 7"), @r#"
    error: spotgate.toml:10:9: `portal.title` must be text in quotes, not a number
       |
    10 | title = 7
       |         ^
       = help: write `title = "Example Space"`
    "#);
}

#[test]
fn an_address_without_port() {
    insta::assert_snapshot!(added("[http]\nlisten = [\"127.0.0.1\"]"), @r#"
    error: spotgate.toml:10:11: `http.listen` must be an IP address with a port
       |
    10 | listen = ["127.0.0.1"]
       |           ^^^^^^^^^^^
       = help: write "127.0.0.1:8080"; IPv6 in brackets: "[::1]:8080"; every address of the host: "0.0.0.0:PORT"
    "#);
}

#[test]
fn an_address_outside_a_list() {
    insta::assert_snapshot!(added("[radius]\nauth_listen = \"0.0.0.0:1812\""), @r#"
    error: spotgate.toml:10:15: `radius.auth_listen` must be a list in square brackets
       |
    10 | auth_listen = "0.0.0.0:1812"
       |               ^^^^^^^^^^^^^^
       = help: write `auth_listen = ["0.0.0.0:1812"]`
    "#);
}

#[test]
fn an_address_twice() {
    insta::assert_snapshot!(added("[http]\nlisten = [\"127.0.0.1:80\", \"127.0.0.1:80\"]"), @r#"
    error: spotgate.toml:10:27: `http.listen` has this address twice
       |
    10 | listen = ["127.0.0.1:80", "127.0.0.1:80"]
       |                           ^^^^^^^^^^^^^^
       = help: remove one of the two
    "#);
}

#[test]
fn both_lists_at_one_address() {
    let text = "\
        [radius]\n\
        auth_listen = [\"127.0.0.1:1812\"]\n\
        acct_listen = [\"127.0.0.1:1812\"]";
    insta::assert_snapshot!(added(text), @r#"
    error: spotgate.toml:9:2: [radius] listens for authentication and accounting at one address
      |
    9 | [radius]
      |  ^^^^^^
      = help: give the two lists different ports, usually 1812 and 1813, not both 1812
    "#);
}

#[test]
fn a_certificate_without_its_key() {
    insta::assert_snapshot!(added("[http]\ncertificate = \"http.pem\""), @r#"
    error: spotgate.toml:10:15: `http.certificate` is given without `http.private_key`
       |
    10 | certificate = "http.pem"
       |               ^^^^^^^^^^
       = help: write `private_key = "FILE.pem"` too, or remove both for plain HTTP
    "#);
}

#[test]
fn a_proxy_that_is_a_name() {
    insta::assert_snapshot!(added("[http]\ntrusted_proxies = [\"proxy.local\"]"), @r#"
    error: spotgate.toml:10:20: `http.trusted_proxies` must be an IP address or a network
       |
    10 | trusted_proxies = ["proxy.local"]
       |                    ^^^^^^^^^^^^^
       = help: write "192.168.88.1", or "10.5.0.0/24" for every address of a network
    "#);
}

#[test]
fn a_color_by_name() {
    insta::assert_snapshot!(added("[portal]\naccent_color = \"green\""), @r##"
    error: spotgate.toml:10:16: `portal.accent_color` must be # and three or six hexadecimal digits
       |
    10 | accent_color = "green"
       |                ^^^^^^^
       = help: write `accent_color = "#0a7"` or `accent_color = "#00aa77"`
    "##);
}

#[test]
fn a_language_we_lack() {
    insta::assert_snapshot!(added("[portal]\ndefault_language = \"english\""), @r#"
    error: spotgate.toml:10:20: `portal.default_language` must be "en", "es", "fr", "de", "pt", "it", "ca" or "nl"
       |
    10 | default_language = "english"
       |                    ^^^^^^^^^
       = help: write one of these words
    "#);
}

#[test]
fn a_url_without_scheme() {
    insta::assert_snapshot!(added("[portal]\npublic_url = \"wifi.example.org\""), @r#"
    error: spotgate.toml:10:14: `portal.public_url` must be a URL that begins with https:// or http://
       |
    10 | public_url = "wifi.example.org"
       |              ^^^^^^^^^^^^^^^^^^
       = help: write `public_url = "https://wifi.example.org"`
    "#);
}

#[test]
fn a_time_zone_that_is_none() {
    insta::assert_snapshot!(added("[source.nexudus]\ntime_zone = \"Barcelona\""), @r#"
    error: spotgate.toml:10:13: `source.nexudus.time_zone` is no time zone
       |
    10 | time_zone = "Barcelona"
       |             ^^^^^^^^^^^
       = help: write "UTC" or a name like "Europe/Madrid" (continent/city)
    "#);
}

#[test]
fn a_level_that_is_none() {
    insta::assert_snapshot!(added("[telemetry]\nlevel = \"info,spotgate=loud\""), @r#"
    error: spotgate.toml:10:9: `telemetry.level` must be a level, or several for parts of spotgate
       |
    10 | level = "info,spotgate=loud"
       |         ^^^^^^^^^^^^^^^^^^^^
       = help: write "error", "warn", "info", "debug" or "trace"; or e.g. "info,spotgate::radius=debug"
    "#);
}

#[test]
fn a_variable_that_is_not_set() {
    insta::assert_snapshot!(added("[portal]\ntitle = \"WiFi of ${SPACE}\""), @r#"
    error: spotgate.toml:10:9: `portal.title` uses the environment variable SPACE, which is not set
       |
    10 | title = "WiFi of ${SPACE}"
       |         ^^^^^^^^^^^^^^^^^^
       = help: set SPACE for the service, or write the value itself
    "#);
}

#[test]
fn a_credential_outside_systemd() {
    insta::assert_snapshot!(added("[portal]\nlogo = \"$CREDENTIALS_DIRECTORY/logo.svg\""), @r#"
    error: spotgate.toml:10:8: `portal.logo` uses CREDENTIALS_DIRECTORY, which is not set
       |
    10 | logo = "$CREDENTIALS_DIRECTORY/logo.svg"
       |        ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
       = help: systemd sets it for a service with LoadCredential=; by hand, set it to the folder of the secrets
    "#);
}

#[test]
fn a_key_without_name_secret_and_scopes() {
    insta::assert_snapshot!(added("[[http.api_key]]"), @r#"
    error: spotgate.toml:9:1: [[http.api_key]] lacks `name`
      |
    9 | [[http.api_key]]
      | ^^^^^^^^^^^^^^^^
      = help: write `name = "router-script"`: any name, for logs

    error: spotgate.toml:9:1: [[http.api_key]] lacks `key` or `key_file`
      |
    9 | [[http.api_key]]
      | ^^^^^^^^^^^^^^^^
      = help: write `key_file = "FILE"` with the secret in FILE, or `key = "…"`

    error: spotgate.toml:9:1: [[http.api_key]] lacks `scopes`
      |
    9 | [[http.api_key]]
      | ^^^^^^^^^^^^^^^^
      = help: write `scopes = ["authorize"]`; there are authorize, accounting, ironwifi, freeradius, read, admin
    "#);
}

#[test]
fn a_key_without_scopes() {
    insta::assert_snapshot!(added("[[http.api_key]]\nname = \"script\"\nkey = \"abcdefgh\"\nscopes = []"), @r#"
    error: spotgate.toml:12:10: `http.api_key.scopes` is empty: this key may do nothing
       |
    12 | scopes = []
       |          ^^
       = help: write `scopes = ["authorize"]`; there are authorize, accounting, ironwifi, freeradius, read, admin
    "#);
}

#[test]
fn a_scope_that_is_none() {
    let text = "\
        [[http.api_key]]\n\
        name = \"script\"\n\
        key = \"abcdefgh\"\n\
        scopes = [\"authorise\"]";
    insta::assert_snapshot!(added(text), @r#"
    error: spotgate.toml:12:11: `http.api_key.scopes` must be "authorize", "accounting", "ironwifi", "freeradius", "read" or "admin"
       |
    12 | scopes = ["authorise"]
       |           ^^^^^^^^^^^
       = help: did you mean "authorize"?
    "#);
}

#[test]
fn a_key_for_a_router_that_is_none() {
    let text = "\
        [[http.api_key]]\n\
        name = \"script\"\n\
        key = \"abcdefgh\"\n\
        scopes = [\"read\"]\n\
        nas = \"front-dek\"";
    insta::assert_snapshot!(added(text), @r#"
    error: spotgate.toml:13:7: there is no [[nas]] of this name
       |
    13 | nas = "front-dek"
       |       ^^^^^^^^^^^
       = help: did you mean "front-desk"?
    "#);
}

#[test]
fn two_keys_alike() {
    let text = "\
        [[http.api_key]]\n\
        name = \"a\"\n\
        key = \"abcdefgh\"\n\
        scopes = [\"read\"]\n\
        [[http.api_key]]\n\
        name = \"a\"\n\
        key = \"abcdefgh\"\n\
        scopes = [\"read\"]";
    insta::assert_snapshot!(added(text), @r#"
    error: spotgate.toml:14:8: another [[http.api_key]] has the name of this one
       |
    14 | name = "a"
       |        ^^^
       = help: give each key a name of its own

    error: spotgate.toml:15:7: another [[http.api_key]] has the same key
       |
    15 | key = …
       |       ^
       = help: make a key for each with `openssl rand -hex 24`
    "#);
}

#[test]
fn a_router_in_single_brackets() {
    let text = "\
        [source]\n\
        kind = \"file\"\n\
        path = \"t\"\n\
        [nas]\n\
        name = \"front-desk\"\n\
        address = \"192.168.88.1\"\n\
        secret = \"0123456789abcdef\"";
    insta::assert_snapshot!(report(text), @r#"
    error: spotgate.toml:4:2: `nas` must be a list of sections
      |
    4 | [nas]
      |  ^^^
      = help: write `[[nas]]` in double brackets on a line of its own, its keys below it
    "#);
}

#[test]
fn a_router_without_anything() {
    insta::assert_snapshot!(added("[[nas]]"), @r#"
    error: spotgate.toml:9:1: [[nas]] lacks `name`
      |
    9 | [[nas]]
      | ^^^^^^^
      = help: write `name = "front-desk"`: any name, for logs and API keys

    error: spotgate.toml:9:1: [[nas]] lacks `address`
      |
    9 | [[nas]]
      | ^^^^^^^
      = help: write `address = "192.168.88.1"`, or a network: "10.5.0.0/24"

    error: spotgate.toml:9:1: [[nas]] lacks `secret` or `secret_file`
      |
    9 | [[nas]]
      | ^^^^^^^
      = help: write `secret_file = "FILE"` with the secret in FILE, or `secret = "…"`
    "#);
}

#[test]
fn two_routers_alike() {
    let text = "\
        [[nas]]\n\
        name = \"front-desk\"\n\
        address = \"192.168.88.1/32\"\n\
        secret = \"0123456789abcdef\"";
    insta::assert_snapshot!(added(text), @r#"
    error: spotgate.toml:10:8: another [[nas]] has the name of this one: `nas.name` must be unique
       |
    10 | name = "front-desk"
       |        ^^^^^^^^^^^^
       = help: give each router a name of its own

    error: spotgate.toml:11:11: another [[nas]] has the same address
       |
    11 | address = "192.168.88.1/32"
       |           ^^^^^^^^^^^^^^^^^
       = help: give each [[nas]] an address of its own; within a network, the narrowest that fits counts
    "#);
}

#[test]
fn a_router_by_name() {
    let text = "\
        [[nas]]\n\
        name = \"bar\"\n\
        address = \"router.local\"\n\
        secret = \"0123456789abcdef\"";
    insta::assert_snapshot!(added(text), @r#"
    error: spotgate.toml:11:11: `nas.address` must be an IP address or a network
       |
    11 | address = "router.local"
       |           ^^^^^^^^^^^^^^
       = help: write "192.168.88.1", or "10.5.0.0/24" for every address of a network
    "#);
}

#[test]
fn a_secret_twice() {
    let text = "\
        [[nas]]\n\
        name = \"bar\"\n\
        address = \"10.0.0.1\"\n\
        secret = \"0123456789abcdef\"\n\
        secret_file = \"bar.secret\"";
    insta::assert_snapshot!(added(text), @r#"
    error: spotgate.toml:13:15: both `secret` and `secret_file` are given
       |
    13 | secret_file = …
       |               ^
       = help: keep one of the two; `secret_file` keeps the secret out of this file
    "#);
}

#[test]
fn an_empty_secret() {
    insta::assert_snapshot!(added("[[nas]]\nname = \"bar\"\naddress = \"10.0.0.1\"\nsecret = \"\""), @r#"
    error: spotgate.toml:12:10: `nas.secret` is empty
       |
    12 | secret = …
       |          ^
       = help: write the secret, or `secret_file = "FILE"`
    "#);
}

#[test]
fn a_secret_without_its_file() {
    let text = "\
        [[nas]]\n\
        name = \"bar\"\n\
        address = \"10.0.0.1\"\n\
        secret_file = \"bar.secret\"";
    insta::assert_snapshot!(added(text), @r#"
    error: spotgate.toml:12:15: the file of `nas.secret_file` does not exist
       |
    12 | secret_file = …
       |               ^
       = help: create it with nothing but the secret in it; relative paths start in the folder .
               (the secret itself would go to `secret`)
    "#);
}

#[test]
fn a_secret_in_what_is_no_file_is_not_waited_for() {
    let folder = tempfile::tempdir().unwrap();
    let pipe = folder.path().join("bar.secret");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    for file in [".", "bar.secret"] {
        let text = format!("[[nas]]\nname = \"bar\"\naddress = \"10.0.0.1\"\nsecret_file = \"{file}\"");
        let said = from_str(&text, &folder.path().join("spotgate.toml"), &no_env).unwrap_err().to_string();
        assert!(said.contains("the file of `nas.secret_file` is no regular file"), "{said}");
    }
}

#[test]
fn a_hotspot_host_with_scheme() {
    let text = "\
        [[nas]]\n\
        name = \"bar\"\n\
        address = \"10.0.0.1\"\n\
        secret = \"0123456789abcdef\"\n\
        hotspot_hosts = [\"http://login.example.net/\"]";
    insta::assert_snapshot!(added(text), @r#"
    error: spotgate.toml:13:18: `nas.hotspot_hosts` must hold host names, each with or without a port
       |
    13 | hotspot_hosts = ["http://login.example.net/"]
       |                  ^^^^^^^^^^^^^^^^^^^^^^^^^^^
       = help: write "login.example.net": no https:// before it, no / after it
    "#);
}

#[test]
fn a_rate_limit_of_nothing() {
    let text = "\
        [[nas]]\n\
        name = \"bar\"\n\
        address = \"10.0.0.1\"\n\
        secret = \"0123456789abcdef\"\n\
        rate_limit = \"\"";
    insta::assert_snapshot!(added(text), @r#"
    error: spotgate.toml:13:14: `nas.rate_limit` is empty
       |
    13 | rate_limit = ""
       |              ^^
       = help: write `rate_limit = "10M/10M"`
    "#);
}

#[test]
fn a_store_without_url() {
    insta::assert_snapshot!(added("[store]\nkind = \"postgres\""), @r#"
    error: spotgate.toml:9:2: [store] lacks `url` or `url_file`
      |
    9 | [store]
      |  ^^^^^
      = help: write `url_file = "FILE"` with the secret in FILE, or `url = "…"`
    "#);
}

#[test]
fn radsec_without_certificates() {
    insta::assert_snapshot!(added("[radius.radsec]\nlisten = []"), @r#"
    error: spotgate.toml:9:9: [radius.radsec] lacks `certificate`
      |
    9 | [radius.radsec]
      |         ^^^^^^
      = help: write `certificate = "FILE.pem"`: our certificate and what stands between it and its authority

    error: spotgate.toml:9:9: [radius.radsec] lacks `private_key`
      |
    9 | [radius.radsec]
      |         ^^^^^^
      = help: write `private_key = "FILE.pem"`: the key of our certificate

    error: spotgate.toml:9:9: [radius.radsec] lacks `client_ca`
      |
    9 | [radius.radsec]
      |         ^^^^^^
      = help: write `client_ca = "FILE.pem"`: the authority that the certificates of routers come from
    "#);
}

#[test]
fn a_password_that_nobody_can_type() {
    insta::assert_snapshot!(added("[admin]\npassword = \"$2b$12$abcdefghijklmnopqrstuu\""), @r#"
    error: spotgate.toml:10:12: this is the hash of a password, and of a kind that cannot be checked
       |
    10 | password = …
       |            ^
       = help: make one with `spotgate password`, or write the password itself
    "#);
}

#[test]
fn one_password_for_everybody() {
    insta::assert_snapshot!(added("[admin]\npassword = \"lemon\"\nviewer_password = \"lemon\""), @r#"
    warning: spotgate.toml:10:12: the password has fewer than 8 characters and can be guessed
       |
    10 | password = …
       |            ^
       = help: take a longer one

    warning: spotgate.toml:11:19: the password has fewer than 8 characters and can be guessed
       |
    11 | viewer_password = …
       |                   ^
       = help: take a longer one

    error: spotgate.toml:11:19: both passwords are the same: whoever has it may do everything
       |
    11 | viewer_password = …
       |                   ^
       = help: give those who may only look a password of their own, or leave it out
    "#);
}

#[test]
fn a_certificate_name_that_no_certificate_holds_or_two_routers_have() {
    let nas = |name: &str, last: u8, certificate_name: &str| {
        format!(
            "[[nas]]\nname = \"{name}\"\naddress = \"10.5.0.{last}\"\nsecret = \"{SECRET}\"\ncertificate_name = \"{certificate_name}\"\n"
        )
    };
    let section = "[radius.radsec]\ncertificate = \"a\"\nprivate_key = \"b\"\nclient_ca = \"c\"\n";
    let wrong = [section.to_owned(), nas("a", 1, "front desk"), nas("b", 2, "*.example.org")].concat();
    insta::assert_snapshot!(added(&wrong), @r#"
    error: spotgate.toml:17:20: a certificate cannot hold this name
       |
    17 | certificate_name = "front desk"
       |                    ^^^^^^^^^^^^
       = help: write the DNS name (or the address) that stands in its certificate as a subject alternative name

    error: spotgate.toml:22:20: a certificate cannot hold this name
       |
    22 | certificate_name = "*.example.org"
       |                    ^^^^^^^^^^^^^^^
       = help: write the DNS name (or the address) that stands in its certificate as a subject alternative name
    "#);
    let twice = [section.to_owned(), nas("a", 1, "desk.example.org"), nas("b", 2, "Desk.example.org")].concat();
    insta::assert_snapshot!(added(&twice), @r#"
    error: spotgate.toml:22:20: another [[nas]] has the same certificate_name
       |
    22 | certificate_name = "Desk.example.org"
       |                    ^^^^^^^^^^^^^^^^^^
       = help: give each router a certificate with a name of its own
    "#);
}

#[test]
fn a_section_twice_over() {
    insta::assert_snapshot!(added("[[cache]]\nfresh_for = \"1s\""), @r#"
    error: spotgate.toml:9:3: `cache` must be one section
      |
    9 | [[cache]]
      |   ^^^^^
      = help: write `[cache]` once, in single brackets on a line of its own, its keys below it
    "#);
}

#[test]
fn nexudus_without_user() {
    let text = "\
        [source]\n\
        kind = \"nexudus\"\n\
        [source.nexudus]\n\
        base_url = \"https://spaces.nexudus.com/api?x=1\"\n\
        [[nas]]\n\
        name = \"front-desk\"\n\
        address = \"192.168.88.1\"\n\
        secret = \"0123456789abcdef\"";
    insta::assert_snapshot!(report(text), @r#"
    error: spotgate.toml:3:9: [source.nexudus] lacks `username`
      |
    3 | [source.nexudus]
      |         ^^^^^^^
      = help: write `username = "wifi@example.org"`: the e-mail of an administrator

    error: spotgate.toml:3:9: [source.nexudus] lacks `password` or `password_file`
      |
    3 | [source.nexudus]
      |         ^^^^^^^
      = help: write `password_file = "FILE"` with the secret in FILE, or `password = "…"`

    error: spotgate.toml:4:12: `source.nexudus.base_url` must be a URL without a path, `?` and `#`
      |
    4 | base_url = "https://spaces.nexudus.com/api?x=1"
      |            ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
      = help: write `base_url = "https://spaces.nexudus.com"`
    "#);
}

#[test]
fn a_source_without_kind_or_path() {
    let text = "\
        [source]\n\
        kind = \"file\"\n\
        [[nas]]\n\
        name = \"front-desk\"\n\
        address = \"192.168.88.1\"\n\
        secret = \"0123456789abcdef\"";
    insta::assert_snapshot!(report(text), @r#"
    error: spotgate.toml:1:2: [source] lacks `path`
      |
    1 | [source]
      |  ^^^^^^
      = help: write `path = "tokens.json"`: a JSON array of AccessToken records
    "#);
}

#[test]
fn several_mistakes_in_order() {
    let text = "\
        [source]\n\
        kind = \"fil\"\n\n\
        [policy]\n\
        \tmin_session = 60  # was 30\n\
        [portal]\n\
        title = \"\"\n\
        logo = 1\n\
        [portl]\n\
        [[nas]]\n\
        name = \"front-desk\"\n\
        address = \"192.168.88.1\"\n\
        secret = \"0123456789abcdef\"";
    insta::assert_snapshot!(report(text), @r#"
    error: spotgate.toml:2:8: `source.kind` must be "nexudus" or "file"
      |
    2 | kind = "fil"
      |        ^^^^^
      = help: did you mean "file"?

    error: spotgate.toml:5:16: `policy.min_session` is a number without a unit
      |
    5 |     min_session = 60
      |                   ^^
      = help: write `min_session = "60s"`; units are ms, s, m, h and d

    error: spotgate.toml:7:9: `portal.title` is empty
      |
    7 | title = ""
      |         ^^
      = help: write `title = "Example Space"`

    error: spotgate.toml:8:8: `portal.logo` must be text in quotes, not a number
      |
    8 | logo = 1
      |        ^
      = help: write `logo = "logo.svg"`

    error: spotgate.toml:9:2: there is no section `portl`
      |
    9 | [portl]
      |  ^^^^^
      = help: did you mean `[portal]`?
    "#);
}

#[test]
fn carets_under_other_alphabets() {
    let text = "\
        [source]\n\
        kind = \"file\"\n\
        path = \"t\"\n\
        [[nas]]\n\
        name = \"ñandú\"\n\
        address = \"adreça\"\n\
        hotspot_hosts = [\"ñ.example\", \"b\"]\n\
        secret = \"0123456789abcdef\"";
    insta::assert_snapshot!(report(text), @r#"
    error: spotgate.toml:6:11: `nas.address` must be an IP address or a network
      |
    6 | address = "adreça"
      |           ^^^^^^^^
      = help: write "192.168.88.1", or "10.5.0.0/24" for every address of a network

    error: spotgate.toml:7:18: `nas.hotspot_hosts` must hold host names, each with or without a port
      |
    7 | hotspot_hosts = ["ñ.example", "b"]
      |                  ^^^^^^^^^^^
      = help: write "login.example.net": no https:// before it, no / after it
    "#);
}

#[test]
fn a_value_without_quotes() {
    insta::assert_snapshot!(report("[source]\nkind = file\n"), @r#"
    error: spotgate.toml:2:8: this is not TOML: a value is neither true nor false, nor text in quotes
      |
    2 | kind = file
      |        ^^^^
      = help: write each line as key = value, with text in double quotes: key = "text"
    "#);
}

#[test]
fn quotes_that_do_not_end() {
    insta::assert_snapshot!(report("[[nas]]\nname = \"front-desk\nsecret = \"0123456789abcdef\n"), @r#"
    error: spotgate.toml:2:19: this is not TOML: invalid basic string, expected `"`
      |
    2 | name = "front-desk
      |                   ^
      = help: put text between two double quotes on one line: key = "text"

    error: spotgate.toml:3:27: this is not TOML: invalid basic string, expected `"`
      |
    3 | secret = …
      |           ^
      = help: put text between two double quotes on one line: key = "text"
    "#);
}

#[test]
fn a_header_that_does_not_end() {
    insta::assert_snapshot!(report("[[nas]\nname = \"front-desk\"\n"), @r#"
    error: spotgate.toml:1:7: this is not TOML: unclosed array table, expected `]`
      |
    1 | [[nas]
      |       ^
      = help: write a section as [name], and one of several as [[name]], alone on its line
    "#);
}

#[test]
fn a_key_twice() {
    insta::assert_snapshot!(report("[source]\nkind = \"file\"\nkind = \"nexudus\"\n[source]\n"), @r#"
    error: spotgate.toml:3:1: this is not TOML: duplicate key
      |
    3 | kind = "nexudus"
      | ^^^^
      = help: give each key once in its section, and each [section] once in the file

    error: spotgate.toml:4:2: this is not TOML: duplicate key
      |
    4 | [source]
      |  ^^^^^^
      = help: give each key once in its section, and each [section] once in the file
    "#);
}

#[test]
fn a_line_without_value() {
    insta::assert_snapshot!(report("[source]\nkind\n"), @r#"
    error: spotgate.toml:2:5: this is not TOML: key with no value, expected `=`
      = help: write each line as key = value
    "#);
}

#[test]
fn a_level_with_a_typing_mistake() {
    insta::assert_snapshot!(added("[telemetry]\nlevel = \"inof\""), @r#"
    error: spotgate.toml:10:9: `telemetry.level` must be a level, or several for parts of spotgate
       |
    10 | level = "inof"
       |         ^^^^^^
       = help: write "error", "warn", "info", "debug" or "trace"; or e.g. "info,spotgate::radius=debug"
    "#);
}

#[test]
fn metrics_where_http_is() {
    insta::assert_snapshot!(added("[telemetry]\nmetrics_listen = \"127.0.0.1:8080\""), @r#"
    error: spotgate.toml:9:2: `http.listen` and `telemetry.metrics_listen` are one address
      |
    9 | [telemetry]
      |  ^^^^^^^^^
      = help: give one of the two another port, e.g. `metrics_listen = "127.0.0.1:9812"`
    "#);
}
