//! What a MikroTik router gets from us, as a person asks for it.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Output;

use crate::support::{FILE_SOURCE, configuration, printed, repository_file, run, spotgate, tool};

/// Runs `spotgate mikrotik` in a folder with this configuration.
fn mikrotik(folder: &Path, extra: &str, arguments: &[&str]) -> Output {
    let path = folder.join("spotgate.toml");
    std::fs::write(&path, configuration(FILE_SOURCE, extra)).unwrap();
    let mut command = spotgate(&["mikrotik"]);
    run(command.args(arguments).arg("--config").arg(&path).current_dir(folder))
}

fn files_of(folder: &Path) -> BTreeMap<String, String> {
    let mut files = BTreeMap::new();
    for entry in std::fs::read_dir(folder).unwrap().map(Result::unwrap) {
        let name = entry.file_name().into_string().unwrap();
        if entry.file_type().unwrap().is_dir() {
            files.extend(files_of(&entry.path()).into_iter().map(|(file, text)| (format!("{name}/{file}"), text)));
        } else {
            files.insert(name, std::fs::read_to_string(entry.path()).unwrap());
        }
    }
    files
}

const PAGES: [&str; 5] = ["pages", "--nas", "front-desk", "--out", "hotspot/pages"];

#[test]
fn pages_are_written_and_written_again() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("hotspot/pages");
    let output = mikrotik(folder.path(), "hand_over = \"router\"", &PAGES);
    assert_eq!(output.status.code(), Some(0), "{}", printed(&output));
    let files = files_of(&out);
    for name in
        ["login", "alogin", "rlogin", "redirect", "status", "logout", "error"].map(|page| format!("{page}.html"))
    {
        assert!(files[&name].starts_with("<!doctype html>") || files[&name].starts_with("$(if http-status"), "{name}");
        assert!(files.contains_key(&format!("nl/{name}")));
    }
    for name in ["errors.txt", "api.json", "md5.js"] {
        assert!(!files[name].is_empty(), "{name}");
    }
    assert!(printed(&output).contains(&format!("{} files are in hotspot/pages", files.len())), "{}", printed(&output));
    // A change of the configuration reaches them; what is not ours stays.
    std::fs::write(out.join("photo.jpg"), "a photo").unwrap();
    let portal = "[portal]\npublic_url = \"https://wifi.example.org\"\n";
    let again = mikrotik(folder.path(), portal, &PAGES);
    assert_eq!(again.status.code(), Some(0), "{}", printed(&again));
    let changed = files_of(&out);
    assert!(
        changed["login.html"].contains("https://wifi.example.org/login?nas=front-desk"),
        "{}",
        changed["login.html"]
    );
    assert_eq!(changed["photo.jpg"], "a photo");
    assert_eq!(changed.len(), files.len() + 1);
}

#[test]
fn what_cannot_be_is_said() {
    let folder = tempfile::tempdir().unwrap();
    for (extra, nas, code, said) in [
        ("", "kitchen", 2, "no NAS is called kitchen; there are: front-desk"),
        ("", "front-desk", 2, "`portal.public_url` is not set"),
        ("hand_over = \"cookie\"", "front-desk", 2, "hand_over"),
        ("hand_over = \"opennds\"\nfas_key = \"0123456789abcdef\"", "front-desk", 2, "docs/systems.md"),
    ] {
        let output = mikrotik(folder.path(), extra, &["pages", "--nas", nas, "--out", "pages"]);
        assert_eq!(output.status.code(), Some(code), "{}", printed(&output));
        assert!(printed(&output).contains(said), "{}", printed(&output));
        assert!(!folder.path().join("pages").exists());
    }
    std::fs::write(folder.path().join("pages"), "a file in the way").unwrap();
    let output = mikrotik(folder.path(), "hand_over = \"router\"", &["pages", "--nas", "front-desk", "--out", "pages"]);
    assert_eq!(output.status.code(), Some(1), "{}", printed(&output));
    assert!(printed(&output).contains("pages/alogin.html cannot be written"), "{}", printed(&output));
}

#[test]
fn the_commands_of_a_router_are_printed_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let fixed = "hand_over = \"router\"\nhotspot_hosts = [\"login.example.net\"]";
    let configured = configuration(FILE_SOURCE, fixed).replace("127.0.0.1:0\"]\nacct", "10.5.0.2:1812\"]\nacct");
    let configured = configured.replacen("acct_listen = [\"127.0.0.1:0\"]", "acct_listen = [\"10.5.0.2:1813\"]", 1);
    let path = folder.path().join("spotgate.toml");
    std::fs::write(&path, configured).unwrap();
    let setup = |nas: &str, more: &[&str]| {
        run(spotgate(&["mikrotik", "setup", "--nas", nas]).args(more).arg("--config").arg(&path))
    };
    let output =
        setup("front-desk", &["--interface", "vlan7", "--hotspot-address", "10.7.0.1", "--network", "10.7.0.0/16"]);
    let script = String::from_utf8(output.stdout).unwrap();
    assert_eq!((output.status.code(), output.stderr), (Some(0), Vec::new()), "{script}");
    assert!(script.starts_with("# spotgate: connects the router front-desk") && script.ends_with("\n}\n"), "{script}");
    for part in ["\"10.5.0.2\"", "\"vlan7\"", "\"10.7.0.1\"", "\"10.7.0.0/16\"", "\"correct horse battery\""] {
        assert!(script.contains(part), "{part} in {script}");
    }
    let output = setup("front-desk", &["--server", "10.5.0.9"]);
    assert!(output.status.success() && printed(&output).contains("sgServer \"10.5.0.9\""), "{}", printed(&output));
    let output = setup("kitchen", &[]);
    assert_eq!((output.status.code(), output.stdout.len()), (Some(2), 0));
    assert!(printed(&output).contains("there are: front-desk"), "{}", printed(&output));
    // Ports that the kernel picks are no ports to ask at; and of what has to be looked at the error stream tells.
    let output = mikrotik(folder.path(), "hand_over = \"router\"", &["setup", "--nas", "front-desk"]);
    assert!(output.status.code() == Some(2) && printed(&output).contains("radius.auth_listen"), "{}", printed(&output));
}

/// What a script prints when it runs after the router's `md5.js`.
fn after_md5(script: &str) -> String {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("test.js");
    std::fs::write(&path, format!("{}\n{script}", repository_file("src/mikrotik/pages/md5.js"))).unwrap();
    let output = run(tool("duk").arg(&path));
    assert!(output.status.success(), "{}", printed(&output));
    printed(&output)
}

/// The digests of RFC 1321, A.5, and of texts around the ends of blocks, by `md5sum`.
#[test]
fn the_routers_script_makes_the_digests_of_md5() {
    let texts = ["", "a", "abc", "message digest", "abcdefghijklmnopqrstuvwxyz"].map(str::to_owned);
    let long =
        [55, 56, 57, 63, 64, 65, 119, 120, 128, 1000].map(|length| "0123456789".repeat(100)[..length].to_owned());
    let texts: Vec<String> = texts.into_iter().chain(long).collect();
    let script: String = texts.iter().map(|text| format!("print(hexMD5('{text}'));\n")).collect();
    let folder = tempfile::tempdir().unwrap();
    let digests = texts.iter().map(|text| {
        let path = folder.path().join("text");
        std::fs::write(&path, text).unwrap();
        printed(&run(tool("md5sum").arg(&path)))[..32].to_owned() + "\n"
    });
    assert_eq!(after_md5(&script), digests.collect::<String>());
}

/// The example of facts/hotspot.md §5.2, and one whose code is not ASCII.
#[test]
fn the_routers_script_answers_a_challenge_as_spotgate_expects() {
    let script = r"
        function answer(typed, id, challenge) {
            var form = {
                elements: { username: { value: typed }, password: { value: '' } },
                getAttribute: function (name) { return name === 'data-chap-id' ? id : challenge; }
            };
            answerChallenge(form);
            print(form.elements.username.value + ' ' + form.elements.password.value);
        }
        var challenge = '\\133\\012\\235\\341\\102\\167\\063\\310\\037\\320\\252\\144\\022\\351\\213\\007';
        answer(' kx7q-91mp ', '\\371', challenge);
        answer('\u00e9t\u00e9', '\\371', challenge);
    ";
    let chap = spotgate::portal::handover::Chap::parse(
        "\\371",
        "\\133\\012\\235\\341\\102\\167\\063\\310\\037\\320\\252\\144\\022\\351\\213\\007",
    );
    let expected = format!("kx7q-91mp 33b1ec440cdbb48a28ca00096f49aaff\nété {}\n", chap.unwrap().response("été"));
    assert_eq!(after_md5(script), expected);
}
