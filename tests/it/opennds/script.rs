//! The script that openNDS runs, by itself: whom it lets in, what it reports, and what it says where it cannot.

use serde_json::{Value, json};

use super::{ALOUD, CODE, STAGED, comes_online, said};
use crate::support::gateway::{ASKER, INTERNET, PHONE, Site};
use crate::support::process::until;
use crate::support::{record, with};

/// Has the script be answered so, in the place of spotgate; it is written down that it asks.
fn answers(site: &Site, answer: &str) {
    site.place_program("curl", &format!("cat >/dev/null\necho asked >>/run/site/asked\nprintf %s '{answer}'\n"));
}

/// How often the script has asked so far.
fn asked(site: &Site) -> usize {
    site.left("asked").lines().count()
}

/// Has spotgate know of a session of this name, though openNDS does not.
fn begins(site: &Site, token: &str) -> String {
    let ticket = said(&site.types(CODE).onward, "custom");
    site.script(&["sh"], &["auth_client", PHONE, "x", "curl", "10.5.50.9", token, &ticket]);
    site.script(&["sh"], &["client_auth", PHONE, "0", "0", "1", "2", token, &ticket]);
    let [session] = &site.sessions()[..] else { panic!("{:?}", site.sessions()) };
    assert_eq!(session["state"], "online");
    session["session"].as_str().unwrap().to_owned()
}

/// Has openNDS say that it is over, after 70 seconds.
fn ends(site: &Site, shell: &[&str], token: &str) {
    site.script(shell, &["timeout_deauth", PHONE, "7", "5", "100", "170", token, "x"]);
}

#[tokio::test]
async fn nobody_knows_at_which_second_of_the_minute_a_report_comes() {
    let mut site = Site::start(&[record(1, CODE)]).await;
    until("openNDS listens", || site.at_gateway("ndsctl").arg("json").output().unwrap().status.success()).await;
    site.place_program("sleep", "echo \"$1\" >>/run/site/slept\n");
    assert_eq!(site.script(STAGED, &["report", "now"]), (Some(0), String::new()));
    assert_eq!(site.left("slept"), "");
    for shell in [&["dash"][..], &["busybox", "sh"]] {
        for _ in 0..6 {
            let staged = [&["PATH=/run/site/programs:/usr/bin:/bin"][..], shell].concat();
            assert_eq!(site.script(&staged, &["report"]), (Some(0), String::new()));
        }
        let slept = site.left("slept");
        let waits: Vec<u32> = slept.lines().map(|line| line.parse().unwrap()).collect();
        assert!(waits.iter().all(|wait| *wait < 20) && waits.iter().any(|wait| *wait != waits[0]), "{waits:?}");
    }
    assert_eq!(site.left("slept").lines().count(), 12);
    site.spotgate.take().unwrap().stop();
}

#[tokio::test]
async fn to_put_a_guest_out_is_tried_at_once_and_for_two_minutes() {
    let mut site = Site::start(&[record(1, CODE)]).await;
    // Somebody else has the lock of openNDS all the time.
    site.place_program("ndsctl", "echo $PPID >>/run/site/orders\nexit 4\n");
    // Nobody is asked whether he let this guest in but spotgate.
    answers(&site, "\n503");
    for (knows, first) in [("", "0.1"), ("case $1 in *.*) exit 1; esac\n", "1")] {
        site.place_program("sleep", &format!("{knows}echo $1 >>/run/site/slept\n"));
        let (_, complaint) = site.script(STAGED, &["client_auth", PHONE, "0", "0", "1", "2", "0a1b2c3d", "x"]);
        assert_eq!(complaint, "");
        until("it tries", || !site.left("orders").is_empty()).await;
        let process = format!("/proc/{}", site.left("orders").lines().next().unwrap());
        until("it gives up", || !site.at_gateway("test").args(["-e", &process]).status().unwrap().success()).await;
        let slept = site.left("slept");
        let pauses: Vec<f64> = slept.lines().map(|line| line.parse().unwrap()).collect();
        assert_eq!(slept.lines().next(), Some(first));
        let in_all: f64 = pauses.iter().sum();
        assert!((100.0..=160.0).contains(&in_all), "{in_all}");
        for file in ["orders", "slept"] {
            assert!(site.at_gateway("rm").arg(format!("/run/site/{file}")).status().unwrap().success());
        }
    }
    site.spotgate.take().unwrap().stop();
}

#[tokio::test]
async fn an_end_is_forgotten_and_a_guest_put_out_on_the_word_of_spotgate_alone() {
    let mut site = Site::start(&[record(1, CODE)]).await;
    let session = begins(&site, "0a1b2c30");
    let others = [
        "<h1>Unauthorized</h1>\n401",
        "\n403",
        "<h1>Not Found</h1>\n404",
        "{\"type\":\"about:blank\",\"detail\":\"There is nothing here.\"}\n404",
        "\n429",
        "\n301",
        "welcome\n200",
        "\n500",
        "\n503",
        "\n000",
    ];
    answers(&site, others[0]);
    ends(&site, STAGED, "0a1b2c30");
    for (number, answer) in others.iter().enumerate() {
        answers(&site, answer);
        let (_, complaint) = site.script(STAGED, &["report", "now"]);
        let status = answer.rsplit_once('\n').unwrap().1;
        assert_eq!(complaint, format!("spotgate takes no report ({status})\n"));
        assert_eq!(asked(&site), number + 2, "it is not asked again on {answer}");
    }
    assert_eq!(site.sessions()[0]["state"], "online");
    site.script(&["sh"], &["report", "now"]);
    assert_eq!(site.sessions(), [] as [Value; 0]);
    assert_eq!(site.ask(&format!("/v1/sessions/{session}"))["seconds_used"], 70);
    // What it does not understand, or does not know of, it need not be told again.
    let nothing_is_left = || {
        let before = asked(&site);
        site.script(STAGED, &["report", "now"]);
        assert_eq!(asked(&site), before);
    };
    answers(&site, "{\"field\":\"session_id\"}\n422");
    ends(&site, STAGED, "0a1b2c31");
    nothing_is_left();
    answers(&site, "\n503");
    ends(&site, STAGED, "0a1b2c31");
    assert_eq!(site.script(ALOUD, &["report", "now"]), (Some(0), String::new()));
    nothing_is_left();

    comes_online(&site);
    for answer in others {
        answers(&site, answer);
        let (_, complaint) = site.script(STAGED, &["report", "now"]);
        assert!(complaint.starts_with("spotgate takes no report") && !complaint.contains("put out"), "{complaint}");
    }
    assert!(site.is_online());
    site.spotgate.take().unwrap().stop();
}

#[tokio::test]
async fn while_spotgate_is_away_one_end_waits_for_its_answer_and_no_other() {
    let mut site = Site::start(&[record(1, CODE)]).await;
    let session = begins(&site, "0a1b2c30");
    answers(&site, "\n000");
    for token in ["0a1b2c31", "0a1b2c32", "0a1b2c30"] {
        ends(&site, STAGED, token);
    }
    assert_eq!(asked(&site), 1);
    site.script(STAGED, &["report", "now"]);
    ends(&site, STAGED, "0a1b2c33");
    assert_eq!(asked(&site), 2);
    assert_eq!(site.script(ALOUD, &["report", "now"]), (Some(0), String::new()));
    assert_eq!(site.ask(&format!("/v1/sessions/{session}"))["seconds_used"], 70);
    // Now they are told at once again.
    begins(&site, "0a1b2c34");
    ends(&site, &["sh"], "0a1b2c34");
    assert_eq!(site.sessions(), [] as [Value; 0]);
    site.spotgate.take().unwrap().stop();
}

#[tokio::test]
async fn what_is_wrong_in_the_settings_lets_nobody_in_and_is_said() {
    let mut site = Site::start(&[record(1, CODE)]).await;
    let no = (Some(0), String::new());
    let asks = |shell: &[&str], ticket: &str| {
        site.script(shell, &["auth_client", PHONE, "x", "curl", "10.5.50.9", "0a1b2c3d", ticket])
    };
    let address = site.types(CODE).onward;
    let ticket = said(&address, "custom");
    // openNDS takes it for a yes if the script fails.
    site.set_up(b"SPOTGATE_URL='http://192.0.2.2:8080\n");
    let refused = site.open(&address);
    assert!(refused.onward.starts_with("http://192.0.2.2:8080/login?fas="), "{refused:?}");
    assert!(!site.is_online());
    let right = format!("SPOTGATE_URL=http://192.0.2.2:8080\nSPOTGATE_KEY={ASKER}\n");
    for wrong in [
        "",
        "SPOTGATE_URL=http://192.0.2.2:8080\n",
        "SPOTGATE_URL='http://192.0.2.2:8080\n",
        &right.replace("http", "(http"),
        &format!("{right}SPOTGATE_KEY=$(echo {ASKER})\n"),
        &format!("{right}SPOTGATE_KEY=\n"),
        &right.replace('=', " = "),
        "\0\u{feff}\n\\",
    ] {
        site.set_up(wrong.as_bytes());
        for shell in [&["dash"][..], &["busybox", "sh"], &["bash", "--posix"]] {
            assert_eq!(asks(shell, &ticket), no, "{shell:?}: {wrong}");
        }
        let (code, complaint) = site.script(ALOUD, &["report", "now"]);
        let said = complaint.contains("/etc/opennds/spotgate does not say where spotgate is");
        assert!(code == Some(0) && said, "{wrong}: {complaint}");
    }
    for instead in ["mkdir", "mkfifo"] {
        assert!(site.at_gateway("rm").args(["-fr", "/etc/opennds/spotgate"]).status().unwrap().success());
        assert!(site.at_gateway(instead).arg("/etc/opennds/spotgate").status().unwrap().success());
        assert_eq!(asks(&["timeout", "5", "sh"], &ticket), no, "{instead}");
    }
    assert!(site.at_gateway("rm").args(["-fr", "/etc/opennds/spotgate"]).status().unwrap().success());
    assert_eq!(asks(&["sh"], &ticket), no);
    site.set_up(right.as_bytes());
    assert_eq!(asks(&["setpriv", "--reuid", "65534", "sh"], &ticket), no, "it cannot be read");
    assert_eq!(site.sessions(), [] as [Value; 0], "nobody has asked so far");

    for spelt in [
        format!("# whom\r\nSPOTGATE_KEY=\"{ASKER}\"\r\nSPOTGATE_URL='http://192.0.2.2:8080'\r\n"),
        right.trim_end().replace("SPOT", "  SPOT").replace("8080", "8080 "),
    ] {
        site.set_up(spelt.as_bytes());
        for shell in ["dash", "busybox"] {
            let ticket = said(&site.types(CODE).onward, "custom");
            let (_, answer) = asks(if shell == "dash" { &["dash"] } else { &["busybox", "sh"] }, &ticket);
            assert!(answer.ends_with(" 0 0 0 0\n"), "{shell}: {spelt}");
        }
    }
    assert_eq!(site.script(ALOUD, &["report", "now"]), no, "nothing to complain of");
    site.spotgate.take().unwrap().stop();
}

#[tokio::test]
async fn without_what_it_needs_the_script_lets_nobody_in_and_says_so() {
    let mut site = Site::start(&[record(1, CODE)]).await;
    let no = (Some(0), String::new());
    let ticket = said(&site.types(CODE).onward, "custom");
    let asks = ["auth_client", PHONE, "x", "curl", "10.5.50.9", "0a1b2c3d", &ticket];
    for shell in ["dash", "busybox sh"] {
        // No descriptor is left for a pipe, of which this shell dies.
        let open = "exec 3</dev/null 4</dev/null 5</dev/null 6</dev/null 7</dev/null 8</dev/null 9</dev/null";
        let program = format!("{open}; ulimit -n 12; exec {shell} \"$0\" \"$@\"");
        assert_eq!(site.script(&["sh", "-c", &program], &asks), no, "{shell}");
        let mut bare = vec!["PATH=/nowhere"];
        bare.extend(if shell == "dash" { ["/usr/bin/env", "/usr/bin/dash"] } else { ["/usr/bin/busybox", "sh"] });
        assert_eq!(site.script(&bare, &asks).0, Some(0), "{shell}");
    }
    site.place_program("awk", "exec /usr/bin/awk \"$@\"\n");
    let (code, complaint) = site
        .script(&["PATH=/run/site/programs", "/bin/sh", "-c", "exec /bin/sh \"$0\" \"$@\" 2>&1"], &["report", "now"]);
    assert_eq!(code, Some(0));
    for tool in ["curl", "date", "ndsctl", "sed"] {
        assert!(complaint.contains(&format!("{tool} is not installed")), "{complaint}");
    }
    assert!(!complaint.contains("awk is not"), "{complaint}");
    site.spotgate.take().unwrap().stop();
}

#[tokio::test]
async fn the_script_answers_by_every_shell_and_lets_in_on_nothing_but_a_ticket() {
    let mut site = Site::start(&[record(1, CODE), with(record(2, "0042"), json!({"MinutesLeft": 0}))]).await;
    let asks = |shell: &[&str], mac: &str, ip: &str, token: &str, custom: &str| {
        site.script(shell, &["auth_client", mac, "http%3a%2f%2fexample.org", "curl", ip, token, custom])
    };
    let no = (Some(0), String::new());
    for (mac, ip, token, custom) in [
        (PHONE, "10.5.50.9", "0a1b2c3d", "bmE%3d"),
        (PHONE, "10.5.50.9", "0a1b2c3d", ""),
        (PHONE, "10.5.50.9", "0a1b2c3d", "0042"),
        (PHONE, "10.5.50.9", "0a1b2c3d", "sg-aaaaaaaaaaaaaaaaaaaaaaaaaa"),
        (PHONE, "10.5.50.9", "0a1b2c3d", "\",\"access_code\":\"kx7q-91mp"),
        (PHONE, "10.5.50.9", "0a1b2c3d\"", CODE),
        (PHONE, "10.5.50.9\n", "0a1b2c3d", CODE),
        ("$(id)", "10.5.50.9", "0a1b2c3d", CODE),
        ("02:00", "10.5.50.9", "0a1b2c3d", CODE),
    ] {
        assert_eq!(asks(&["sh"], mac, ip, token, custom), no, "{mac} {ip} {token} {custom}");
    }
    for arguments in
        [&[][..], &["auth_client"], &["timeout_deauth"], &["client_deauth", PHONE, "x", "y", "1", "2", "z"]]
    {
        assert_eq!(site.script(&["sh"], arguments), no, "{arguments:?}");
    }
    assert_eq!(site.sessions(), [] as [Value; 0]);
    for (number, shell) in [&["dash"][..], &["busybox", "sh"], &["bash", "--posix"]].iter().enumerate() {
        let address = site.types(CODE).onward;
        let (token, ticket) = (format!("0a1b2c3{number}"), said(&address, "custom"));
        let (code, answer) = asks(shell, PHONE, "10.5.50.9", &token, &ticket);
        assert_eq!(
            (code, answer.split(' ').skip(1).collect::<Vec<_>>()),
            (Some(0), vec!["0", "0", "0", "0\n"]),
            "{shell:?}"
        );
        assert_eq!(answer.split(' ').next().unwrap(), (3600 - 60 * number).to_string());
        assert_eq!(site.script(shell, &["client_auth", PHONE, "0", "0", "1", "2", &token, &ticket]), no);
        assert_eq!(site.sessions()[0]["state"], "online", "{shell:?}");
        assert_eq!(site.script(shell, &["shutdown_deauth", PHONE, "7", "5", "100", "160", &token, &ticket]), no);
        assert_eq!(site.sessions(), [] as [Value; 0], "{shell:?}");
        assert_eq!(asks(shell, PHONE, "10.5.50.9", "0a1b2c3f", &ticket), no, "a ticket is good once");
    }
    assert_eq!(site.ask(&format!("/v1/tokens/{CODE}"))["usage_seconds"], 180);

    // Everybody on a machine sees the arguments of its programs.
    site.place_program("curl", "printf '%s\\n' \"$*\" >/run/site/arguments\nexec /usr/bin/curl \"$@\"\n");
    let ticket = said(&site.types(CODE).onward, "custom");
    let (_, answer) = asks(&["PATH=/run/site/programs:/usr/bin:/bin", "sh"], PHONE, "10.5.50.9", "0a1b2c3e", &ticket);
    assert!(answer.ends_with(" 0 0 0 0\n"), "{answer}");
    let arguments = site.left("arguments");
    assert!(arguments.contains("--config -"), "{arguments}");
    assert!([ASKER, CODE, &ticket].iter().all(|secret| !arguments.contains(secret)), "{arguments}");
    assert!(!site.open(INTERNET).text.contains("the internet"));
    site.spotgate.take().unwrap().stop();
}
