use super::*;
use crate::config::{Settings, from_str};

fn settings(portal: &str) -> Settings {
    let text = format!(
        "[source]\nkind = \"file\"\npath = \"tokens.json\"\n[[nas]]\nname = \"desk\"\naddress = \"192.0.2.1\"\nsecret = \"not-a-weak-secret-1234\"\n[portal]\n{portal}"
    );
    from_str(&text, Path::new("/nowhere/spotgate.toml"), &|_| None).unwrap().settings
}

#[test]
fn every_template_can_be_read() {
    let environment = environment();
    for (name, _) in BUILT_IN {
        environment.get_template(name).unwrap();
    }
}

#[test]
fn what_is_put_into_a_page_is_escaped() {
    let (pages, troubles) = Pages::new(&settings("title = \"<b>&\\\"'\"").portal);
    assert_eq!(troubles, [""; 0]);
    let hostile = "\"'><script>alert(1)</script>";
    let here = Here { path: "login", query: vec![("link-orig", hostile.to_owned())] };
    let body = context! {
        problem => hostile, code => hostile, digits => false, may_replace => true,
        fields => fields([("mac", hostile)]),
        devices => vec![context! { session => hostile, name => hostile, since => hostile }],
    };
    let page = pages.render(Page::Login, Language::En, hostile, &here, body);
    assert!(page.contains("&lt;script&gt;") && page.contains("&lt;b&gt;"), "{page}");
    assert!(!page.contains("<script>") && !page.contains("\"'>") && !page.contains("<b>"), "{page}");
    assert!(page.contains("name=\"link-orig\" value=\"&quot;&#x27;&gt;&lt;script&gt;"), "{page}");
}

#[test]
fn a_site_may_bring_its_own_pages_and_what_is_wrong_with_them_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let mut portal = settings("").portal;
    portal.templates = Some(folder.path().to_owned());
    let render = |pages: &Pages| {
        pages.render(Page::Logout, Language::De, "Ab", &Here::default(), context! { said => "kept", login => "login" })
    };
    let (_, troubles) = Pages::new(&portal);
    assert!(troubles[0].contains("none of the pages"), "{troubles:?}");

    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    write("logout.html", "{{ say('logout-again') }}: {{ said }} <{{ title }}>");
    write("style.css", "a { color: {{ accent }} }");
    let (pages, troubles) = Pages::new(&portal);
    assert_eq!((render(&pages).as_str(), troubles.len()), ("Wieder online gehen: kept <WiFi>", 0));
    assert_eq!(pages.style, "a { color: #0a7 }");

    // One that fails while it is rendered, and one that cannot be read.
    write("logout.html", "{{ say('no-such-text') }}");
    let (pages, troubles) = Pages::new(&portal);
    assert!(troubles.is_empty() && render(&pages).contains("<h1>Ab</h1>"));
    write("logout.html", "{% if %}");
    let (pages, troubles) = Pages::new(&portal);
    assert!(troubles[0].contains("logout.html") && troubles[0].contains("line 1"), "{troubles:?}");
    assert!(render(&pages).contains("<h1>Ab</h1>"));
}

#[test]
fn a_logo_is_small_and_of_a_kind_that_browsers_show() {
    let folder = tempfile::tempdir().unwrap();
    let mut portal = settings("").portal;
    let mut with = |name: &str, octets: usize| {
        let path = folder.path().join(name);
        std::fs::write(&path, vec![b' '; octets]).unwrap();
        portal.logo = Some(path);
        let (pages, troubles) = Pages::new(&portal);
        (pages.logo.map(|logo| logo.media_type), troubles.len())
    };
    assert_eq!(with("logo.svg", 10), (Some("image/svg+xml"), 0));
    assert_eq!(with("logo.PNG", LARGEST_LOGO), (Some("image/png"), 0));
    assert_eq!(with("logo.png", LARGEST_LOGO + 1), (None, 1));
    assert_eq!(with("logo.html", 10), (None, 1));
}

#[test]
fn words_can_be_read_on_the_accent_whatever_it_is() {
    assert_eq!(
        ["#000", "#0a7", "#fff", "#a00000", "#ffff00", "#767676"].map(legible_on),
        ["#fff", "#000", "#000", "#fff", "#000", "#000"]
    );
    let luminance = |color: f64| if color <= 0.040_45 { color / 12.92 } else { ((color + 0.055) / 1.055).powf(2.4) };
    for grey in 0..=255u32 {
        let ground = luminance(f64::from(grey) / 255.0);
        let contrast = if legible_on(&format!("#{grey:02x}{grey:02x}{grey:02x}")) == "#000" {
            (ground + 0.05) / 0.05
        } else {
            1.05 / (ground + 0.05)
        };
        assert!(contrast >= 4.5, "{grey}: {contrast}");
    }
}
