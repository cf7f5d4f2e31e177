use proptest::prelude::*;
use reqwest::Url;

use super::*;

fn value(name: &str) -> Option<String> {
    let value = match name {
        "username" => "123&456=1 2",
        "logged-in" => "yes",
        "error" => "",
        "link-redirect" => "http://10.5.50.1/login",
        "user-agent" => "a (b; c)",
        _ => return None,
    };
    Some(value.to_owned())
}

fn body(page: &str) -> String {
    print(page, value).body
}

#[test]
fn variables_are_printed_as_they_are_or_for_a_query() {
    assert_eq!(body("a $(username) b"), "a 123&456=1 2 b");
    assert_eq!(body("$(username-esc)"), "123%26456%3D1+2");
    assert_eq!(body("$(nobody)$(nobody-esc)|$(error)"), "|");
    assert_eq!(escaped("\\371é~"), "%5C371%C3%A9%7E");
}

#[test]
fn what_is_no_variable_is_text() {
    for text in
        ["$", "$(", "$()", "$('#id').hide()", "$(a b)", "$(if )", "$(if a == 'b)", "$(if a ==", "$(username", "$ (a)"]
    {
        assert_eq!(body(text), text);
    }
    assert_eq!(body("$($(username)"), "$(123&456=1 2");
}

#[test]
fn one_branch_is_printed() {
    for (page, expected) in [
        ("$(if logged-in)a$(else)b$(endif)c", "ac"),
        ("$(if error)a$(else)b$(endif)c", "bc"),
        ("$(if nobody)a$(endif)c", "c"),
        ("$(if logged-in == 'yes')a$(endif)", "a"),
        ("$(if logged-in == \"yes\")a$(endif)", "a"),
        ("$(if logged-in == yes)a$(endif)", "a"),
        ("$(if logged-in=='no')a$(endif)", ""),
        ("$(if logged-in != 'no')a$(endif)", "a"),
        ("$(if logged-in != 'yes')a$(endif)", ""),
        ("$(if user-agent == \"a (b; c)\" )a$(endif)", "a"),
        ("$(if username-esc == '123%26456%3D1+2')a$(endif)", "a"),
        ("$(if error)1$(elif logged-in == 'no')2$(elif logged-in)3$(elif logged-in)4$(else)5$(endif)6", "36"),
        ("$(if logged-in)1$(if error)2$(else)3$(endif)4$(else)5$(if logged-in)6$(endif)7$(endif)8", "1348"),
        ("$(if error)1$(if logged-in)2$(else)3$(endif)4$(elif logged-in)5$(endif)", "5"),
        ("a$(endif)b$(else)c$(elif error)d", "abcd"),
        ("$(if error)a$(if logged-in)b", ""),
    ] {
        assert_eq!(body(page), expected, "{page}");
    }
}

#[test]
fn a_page_sets_its_status_and_headers() {
    let page = "$(if http-status == 302)Hotspot $(if error)a$(else)redirect$(endif)$(endif)\n\
                $(if http-header == \"Location\")$(link-redirect)?u=$(username-esc)$(endif)\nx";
    let printed = print(page, value);
    assert_eq!(printed.status, Some((302, "Hotspot redirect".to_owned())));
    assert_eq!(printed.headers, [("Location".to_owned(), "http://10.5.50.1/login?u=123%26456%3D1+2".to_owned())]);
    assert_eq!(printed.body, "\n\nx");

    let printed =
        print("$(if error)$(if http-status == 302)a$(endif)$(else)$(if http-header == B)c$(endif)d$(endif)", value);
    assert_eq!((printed.status, printed.body.as_str()), (None, "d"));
    assert_eq!(printed.headers, [("B".to_owned(), "c".to_owned())]);
    for none in ["$(if http-status == 99)a$(endif)b", "$(if http-status == x)a$(else)c$(endif)b"] {
        assert_eq!(print(none, value), Printed { body: "b".to_owned(), ..Printed::default() }, "{none}");
    }
}

#[test]
fn a_page_is_cut_where_it_is_too_long() {
    let long = "é".repeat(Printed::MOST);
    let printed = print("x$(if http-header == A)$(v)$(endif)$(v)y", |name| (name == "v").then(|| long.clone()));
    let header = printed.headers.first().map_or(0, |(_, text)| text.len());
    assert_eq!((printed.body.as_str(), header), ("x", Printed::MOST - 2));
}

/// A page as it is written, and what it prints.
#[derive(Clone, Debug)]
enum Node {
    Text(String),
    Value(bool),
    Either { met: bool, yes: Vec<Self>, no: Vec<Self> },
}

fn node() -> impl Strategy<Value = Node> {
    let leaf = prop_oneof!["[a-z )('\"$=]{0,5}".prop_map(Node::Text), any::<bool>().prop_map(Node::Value)];
    leaf.prop_recursive(5, 60, 4, |inner| {
        let some = || prop::collection::vec(inner.clone(), 0..4);
        (any::<bool>(), some(), some()).prop_map(|(met, yes, no)| Node::Either { met, yes, no })
    })
}

fn write(nodes: &[Node], page: &mut String, expected: &mut String) {
    for node in nodes {
        match node {
            // No text that runs into the directive after it.
            Node::Text(text) => {
                let text = text.replace('$', "");
                page.push_str(&text);
                expected.push_str(&text);
            }
            Node::Value(known) => {
                page.push_str(if *known { "$(logged-in)" } else { "$(nobody)" });
                expected.push_str(if *known { "yes" } else { "" });
            }
            Node::Either { met, yes, no } => {
                let (mut one, mut other) = (String::new(), String::new());
                page.push_str(if *met { "$(if logged-in == 'yes')" } else { "$(if error)" });
                write(yes, page, &mut one);
                page.push_str("$(else)");
                write(no, page, &mut other);
                page.push_str("$(endif)");
                expected.push_str(if *met { &one } else { &other });
            }
        }
    }
}

proptest! {
    #[test]
    fn nested_conditions_print_what_they_say(nodes in prop::collection::vec(node(), 0..6)) {
        let (mut page, mut expected) = (String::new(), String::new());
        write(&nodes, &mut page, &mut expected);
        prop_assert_eq!(body(&page), expected);
    }

    #[test]
    fn of_every_page_each_text_is_printed_once_at_most(
        parts in prop::collection::vec(prop_oneof![
            Just("$(if a)"), Just("$(if http-status == 302)"), Just("$(if http-header == X)"), Just("$(elif b)"),
            Just("$(elif http-header == \"Y\")"), Just("$(else)"), Just("$(endif)"), Just("$(a)"), Just("$("), Just("é)"),
        ], 0..60),
        junk in any::<String>(),
    ) {
        let page = parts.concat() + &junk;
        let printed = print(&page, |name| (name == "a").then(|| "value".to_owned()));
        let headers = printed.headers.iter().map(|(_, value)| value.as_str());
        let all = headers.chain(printed.status.as_ref().map(|(_, words)| words.as_str())).chain([printed.body.as_str()]);
        let texts = |text: &str| text.matches('é').count();
        prop_assert!(all.map(texts).sum::<usize>() <= texts(&page));
    }

    #[test]
    fn an_escaped_value_is_read_as_it_was(text in any::<String>()) {
        let url = Url::parse(&format!("http://a/?v={}&w=x", print("$(a-esc)", |name| (name == "a").then(|| text.clone())).body));
        let read: Vec<String> = url.unwrap().query_pairs().map(|(_, value)| value.into_owned()).collect();
        prop_assert_eq!(read, [text, "x".to_owned()]);
    }
}
