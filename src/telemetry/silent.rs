//! What types of secrets cannot do: print, by mistake even, and be compared in a time that tells how much was right.

/// Whether a type implements a trait.
macro_rules! implements {
    ($type:ty: $($bound:tt)+) => {{
        trait Lacks {
            #[allow(dead_code, reason = "one of the two")]
            const DOES: bool = false;
        }
        impl<T: ?Sized> Lacks for T {}
        struct Probe<T: ?Sized>(#[allow(dead_code, reason = "it is never made")] std::marker::PhantomData<T>);
        impl<T: ?Sized + $($bound)+> Probe<T> {
            #[allow(dead_code, reason = "one of the two")]
            const DOES: bool = true;
        }
        <Probe<$type>>::DOES
    }};
}

/// Whether values of a type can be printed by `{:?}`.
macro_rules! prints {
    ($type:ty) => {
        crate::telemetry::silent::implements!($type: std::fmt::Debug)
    };
}

pub(crate) use {implements, prints};

#[test]
fn what_was_typed_and_what_was_answered_in_full_does_not_print() {
    use crate::{http, mikrotik, portal, source};
    assert!(prints!(String) && prints!(http::problem::Problem), "what prints is found out");
    let silent = [
        ("what a guest brings", prints!(portal::arrival::Given)),
        ("a guest with the code", prints!(portal::arrival::Arrival<'_>)),
        ("a page's address", prints!(portal::pages::Here)),
        ("a question over HTTP", prints!(http::authorize::AuthorizeRequest)),
        ("a report over HTTP", prints!(http::accounting::AccountingRequest)),
        ("a record as it is shown", prints!(http::tokens::TokenRecord)),
        ("a list of Nexudus", prints!(source::nexudus::wire::List<'_>)),
        ("commands for a router", prints!(mikrotik::Setup)),
    ];
    for (what, prints) in silent {
        assert!(!prints, "{what}");
    }
}

/// Codes and tickets are found in tables, whose hashes nobody outside can foresee; all else that somebody may show is compared by
/// methods of these types, which take as long however much is right.
#[test]
fn no_secret_is_compared_by_what_ends_at_the_first_difference() {
    use crate::{console, portal, radius, source};
    assert!(implements!(String: PartialEq) && implements!(str: PartialEq<String>), "what can be compared is found out");
    let compared = [
        ("secrets of the configuration", implements!(secrecy::SecretString: PartialEq)),
        ("with a text", implements!(secrecy::SecretString: PartialEq<str>)),
        ("API keys", implements!(crate::config::ApiKey: PartialEq)),
        ("shared secrets", implements!(radius::secret::Secret: PartialEq)),
        ("what badges are signed with", implements!(portal::badge::Key: PartialEq)),
        ("passwords of operators", implements!(console::sign_in::Password: PartialEq)),
        ("who is signed in", implements!(console::sign_in::SignedIn: PartialEq)),
        ("signatures of webhooks", implements!(source::nexudus::Signature: PartialEq)),
        ("passwords of guests", implements!(crate::core::login::Proof<'_>: PartialEq)),
    ];
    for (what, are_compared) in compared {
        assert!(!are_compared, "{what}");
    }
}
