//! Debian's openNDS, with the script and the settings that are shipped: how its guests come online and leave.

use jiff::{Timestamp, ToSpan as _};
use serde_json::{Value, json};

use crate::support::gateway::{ASKER, INTERNET, PHONE, SCRIPT, Site};
use crate::support::process::until;
use crate::support::{record, with};

const CODE: &str = "kx7q-91mp";

/// Types the code and goes where that leads.
fn comes_online(site: &Site) {
    let sent = site.types(CODE);
    assert_eq!(sent.status, 303, "{sent:?}");
    let page = site.follow(&sent.onward);
    assert!(page.text.contains("You are online"), "{page:?}");
}

/// What the address by which openNDS lets the guest in says of a name.
fn said(address: &str, name: &str) -> String {
    let url = reqwest::Url::parse(address).unwrap();
    url.query_pairs().find(|(known, _)| known == name).unwrap().1.into_owned()
}

fn number(of: &Value) -> i64 {
    of.as_str().unwrap().parse().unwrap()
}

#[tokio::test]
async fn a_guest_of_opennds_is_online_from_the_code_to_the_logout() {
    let mut site = Site::start(&[record(1, CODE)]).await;
    assert!(!site.is_online());
    let page = site.types("no-such-code");
    assert!(page.status == 200 && page.text.contains("This code is not known"), "{page:?}");
    assert!(!site.is_online());

    comes_online(&site);
    assert!(site.is_online());
    let known = site.known();
    assert_eq!(known["state"], "Authenticated");
    assert_eq!(number(&known["session_end"]) - number(&known["session_start"]), 3600, "{known}");
    let [session] = &site.sessions()[..] else { panic!("{:?}", site.sessions()) };
    assert_eq!((&session["state"], &session["nas"]), (&json!("online"), &json!("lobby")));
    assert_eq!((&session["mac"], &session["ip"]), (&json!(PHONE), &json!("10.5.50.9")));
    assert_eq!(session["session_timeout"], 3600);
    // Once a minute, where it is set up as described.
    until("openNDS has counted what the guest has read", || number(&site.known()["download_this_session"]) > 0).await;
    assert_eq!(site.script(&["sh"], &["report", "now"]), (Some(0), String::new()));
    assert!(site.sessions()[0]["output_octets"].as_u64().unwrap() >= 1024, "{:?}", site.sessions());
    // The address that let him in is good for nobody who is in, and shows him his time.
    let again = site.follow("http://10.5.50.1:2050/opennds_auth/?tok=123456789&redir=x&custom=y");
    assert!(again.text.contains("You are online"), "{again:?}");

    let id = session["session"].as_str().unwrap();
    let page = site.follow("http://192.0.2.2:8080/status");
    let sent = site.send(&page, "logout", &[]);
    assert_eq!(sent.onward, "http://10.5.50.1:2050/opennds_deny/");
    site.open(&sent.onward);
    assert!(!site.is_online());
    assert_eq!(site.sessions(), [] as [Value; 0]);
    let ended = site.ask(&format!("/v1/sessions/{id}"));
    assert!(ended["input_octets"].as_u64().unwrap() > 0 && ended["output_octets"].as_u64().unwrap() > 0, "{ended}");

    // openNDS tells of those it puts out when it is stopped.
    comes_online(&site);
    assert_eq!(site.sessions().len(), 1);
    site.shut_down().await;
    assert_eq!(site.sessions(), [] as [Value; 0]);
    for (whose, said) in [("openNDS", site.said()), ("spotgate", site.spotgate.as_ref().unwrap().log())] {
        assert!(!said.contains(CODE) && !said.contains(ASKER), "{whose}: {said}");
    }
    site.spotgate.take().unwrap().stop();
}

#[tokio::test]
async fn opennds_ends_a_session_when_its_time_is_over() {
    let mut site = Site::start(&[]).await;
    let end = spotgate::clock::Clock::system().now().wall + 10.seconds();
    site.issue(&[with(record(1, CODE), json!({"ValidTo": end.to_string()}))]);
    until("the token is known", || site.spotgate.as_ref().unwrap().log().contains("\"tokens\":1")).await;
    comes_online(&site);
    let known = site.known();
    let (began, ends) = (number(&known["session_start"]), number(&known["session_end"]));
    let session = site.sessions()[0].clone();
    assert_eq!(session["session_timeout"], ends - began);
    assert!(began < ends && Timestamp::from_second(ends).unwrap() <= end, "{ends} and {end}");
    until("its time is over", || !site.is_online()).await;
    until("its end is reported", || site.sessions().is_empty()).await;
    let ended = site.ask(&format!("/v1/sessions/{}", session["session"].as_str().unwrap()));
    let used = ended["seconds_used"].as_i64().unwrap();
    assert!((ends - began..ends - began + 5).contains(&used), "{known}: {ended}");
    site.spotgate.take().unwrap().stop();
}

#[tokio::test]
async fn without_spotgate_nobody_comes_in_who_is_in_stays_and_the_end_is_reported_later() {
    let mut site = Site::start(&[record(1, CODE)]).await;
    let address = site.types(CODE).onward;
    site.spotgate.take().unwrap().kill();
    let refused = site.open(&address);
    assert!(refused.onward.starts_with("http://192.0.2.2:8080/login?fas="), "{refused:?}");
    assert!(!site.is_online());
    site.start_spotgate();
    let page = site.follow(&refused.onward);
    assert!(page.text.contains("did not accept the login"), "{page:?}");

    comes_online(&site);
    let session = site.sessions()[0]["session"].as_str().unwrap().to_owned();
    site.spotgate.take().unwrap().kill();
    assert!(site.is_online());
    site.open("http://10.5.50.1:2050/opennds_deny/");
    assert!(!site.is_online());
    assert_eq!(site.script(&["sh"], &["report", "now"]), (Some(0), String::new()), "it is kept while nobody takes it");
    site.start_spotgate();
    assert_eq!(site.sessions()[0]["state"], "online");
    assert_eq!(site.script(&["sh"], &["report", "now"]), (Some(0), String::new()));
    assert_eq!(site.ask(&format!("/v1/sessions/{session}"))["state"], "ended");
    site.spotgate.take().unwrap().stop();
}

#[tokio::test]
async fn whom_opennds_lets_in_without_asking_is_put_out() {
    let mut site = Site::start(&[record(1, CODE)]).await;
    let address = site.types(CODE).onward;
    // openNDS does not run the script while somebody else has its lock, and takes that for a yes.
    let lock = site.locked().await;
    let page = site.open(&address);
    assert!(page.onward.starts_with("http://192.0.2.2:8080/status?"), "{page:?}");
    assert!(site.is_online(), "this is what is to be undone");
    drop(lock);
    until("he is put out", || !site.is_online()).await;
    assert_eq!(site.sessions(), [] as [Value; 0]);
    // Whom `ndsctl` lets in, the next report puts out.
    until("openNDS sees him as one who is out", || site.open(INTERNET).onward.contains("/login?fas=")).await;
    let output = site.at_gateway("ndsctl").args(["auth", PHONE]).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    assert_eq!(site.script(&["sh"], &["report", "now"]).0, Some(0));
    until("he is put out again", || !site.is_online()).await;
    until("openNDS sees it", || site.open(INTERNET).onward.contains("/login?fas=")).await;

    // openNDS keeps what a guest comes with, and writes it among what it says of its guests.
    let address = site.types(CODE).onward;
    let words = "x%0a%22state%22:%22Gone%22,%0a%22mac%22:%2202:00:00:00:00:99%22,%0a%22state%22:%22Authenticated%22,%0a\
                 %22upload_this_session%22:%220%22,%0a%22state%22:%22Gone%22,";
    let address = format!("{}custom={words}", address.split_once("custom=").unwrap().0);
    let change = |how: &str| assert!(site.at_gateway("sh").args(["-c", how]).status().unwrap().success());
    change(&format!("cp {SCRIPT} /run/work/kept && echo exit 1 >{SCRIPT}"));
    site.open(&address);
    assert!(site.is_online());
    change(&format!("cp /run/work/kept {SCRIPT}"));
    let (_, complaint) = site.script(ALOUD, &["report", "now"]);
    assert_eq!(complaint, format!("{PHONE} is online and not known to spotgate (404): it is put out\n"));
    until("he is put out, whatever he says", || !site.is_online()).await;
    site.spotgate.take().unwrap().stop();
}

#[tokio::test]
async fn a_report_waits_until_opennds_has_an_ear_for_it() {
    let mut site = Site::start(&[record(1, CODE)]).await;
    until("openNDS knows the guest", || site.open(INTERNET).onward.contains("/login?fas=")).await;
    assert!(site.at_gateway("ndsctl").args(["auth", PHONE]).output().unwrap().status.success());
    assert!(site.is_online());
    site.place_program("ndsctl", "echo \"$1\" >>/run/site/orders\nexec /usr/bin/ndsctl \"$@\"\n");
    let lock = site.locked().await;
    let mut command = site.at_gateway("env");
    command.args(STAGED).arg(SCRIPT).args(["report", "now"]);
    let report = site.process("report", command);
    until("it has tried again", || site.left("orders").lines().count() > 2).await;
    assert_eq!(report.said(), "");
    drop(lock);
    until("he is put out", || !site.is_online()).await;
    site.spotgate.take().unwrap().stop();
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

/// Has the script find the programs that the test has placed.
const STAGED: &[&str] = &["PATH=/run/site/programs:/usr/bin:/bin", "sh", "-c", "exec \"$0\" \"$@\" 2>&1"];

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

/// Has the script print its complaints.
const ALOUD: &[&str] = &["sh", "-c", "exec \"$0\" \"$@\" 2>&1"];

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
