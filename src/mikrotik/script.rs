//! RouterOS commands as text: values that stay values, and objects that are made once and brought in line afterwards.

use std::fmt::Write as _;

/// A text as a string of RouterOS: nothing in it ends the string or is filled in. What is not printable ASCII stands there by its
/// octets, and so does `?`, which a terminal takes for a key.
pub(super) fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for octet in text.bytes() {
        match octet {
            b'"' | b'\\' | b'$' => {
                out.push('\\');
                out.push(char::from(octet));
            }
            b' '..=b'~' if octet != b'?' => out.push(char::from(octet)),
            // In capital letters: `\a` and the like mean something else.
            _ => drop(write!(out, "\\{octet:02X}")),
        }
    }
    out.push('"');
    out
}

/// A property with its value as RouterOS reads it.
pub(super) type Property = (&'static str, String);

/// A property whose value is a text.
pub(super) fn text(name: &'static str, value: &str) -> Property {
    (name, quoted(value))
}

/// A property whose value is a word, a number, a time or a variable of the script.
pub(super) fn word(name: &'static str, value: &str) -> Property {
    (name, value.to_owned())
}

fn written(properties: &[Property]) -> String {
    properties.iter().map(|(name, value)| format!(" {name}={value}")).collect()
}

/// An object of the router that is ours.
pub(super) struct Object<'a> {
    /// Where it is, e.g. `/ip hotspot profile`.
    pub(super) menu: &'static str,
    /// What it is known by; given to it when it is made.
    pub(super) known_by: &'a [Property],
    /// What else it gets when it is made, and never again.
    pub(super) at_first: &'a [Property],
    /// What it has, now and each time that the script is run.
    pub(super) properties: &'a [Property],
}

impl Object<'_> {
    /// Those that are there.
    fn found(&self) -> String {
        let condition: Vec<String> = self.known_by.iter().map(|(name, value)| format!("{name}={value}")).collect();
        format!("[{} find where {}]", self.menu, condition.join(" and "))
    }

    fn added(&self) -> String {
        let Self { menu, known_by, at_first, properties, .. } = self;
        format!("{menu} add{}{}{}", written(known_by), written(at_first), written(properties))
    }
}

/// A script in the making. Each statement has a line before it that says what it is for.
#[derive(Default)]
pub(super) struct Script(String);

impl Script {
    /// A line for people. It is one line whatever is in it.
    pub(super) fn remark(&mut self, text: &str) {
        let plain: String = text.chars().map(|letter| if letter.is_control() { ' ' } else { letter }).collect();
        self.line(&format!("# {}", plain.trim_end()));
    }

    /// A statement, and what it is for.
    pub(super) fn statement(&mut self, why: &str, statement: &str) {
        self.remark(why);
        self.line(statement);
    }

    /// A variable of the script, for people to change.
    pub(super) fn variable(&mut self, why: &str, name: &str, value: &str) {
        self.statement(why, &format!(":local {name} {}", quoted(value)));
    }

    /// Makes an object where there is none, and brings it in line where it is.
    pub(super) fn ensure(&mut self, why: &str, object: &Object<'_>) {
        self.ensure_with(why, object, &format!("    {}", object.added()));
    }

    /// The same for rules that count in order: it comes before the first that `before` finds, if there is one.
    pub(super) fn ensure_before(&mut self, why: &str, object: &Object<'_>, before: &str) {
        let (menu, added) = (object.menu, object.added());
        let others = format!("[{menu} find where {before}]");
        let add = format!(
            "    :if ([:len {others}] = 0) do={{\n        {added}\n    }} else={{\n        {added} place-before=[:pick {others} 0]\n    }}"
        );
        self.ensure_with(why, object, &add);
    }

    fn ensure_with(&mut self, why: &str, object: &Object<'_>, add: &str) {
        let (menu, found) = (object.menu, object.found());
        let set = format!("{menu} set {found}{}", written(object.properties));
        self.statement(why, &format!(":if ([:len {found}] = 0) do={{\n{add}\n}} else={{\n    {set}\n}}"));
    }

    fn line(&mut self, line: &str) {
        self.0.push_str(line);
        self.0.push('\n');
    }

    /// The script: a block, so that its variables live as long as it runs, also where it is pasted.
    pub(super) fn finished(self, head: &Self) -> String {
        format!("{}{{\n{}}}\n", head.0, self.0)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What RouterOS reads in a string, after its quote: the octets, and what comes after the string. None if it does not end, or
    /// if something in it would be filled in.
    pub(in crate::mikrotik) fn unquoted(text: &str) -> Option<(Vec<u8>, &str)> {
        let (mut octets, mut rest) = (Vec::new(), text);
        loop {
            let letter = rest.chars().next()?;
            rest = rest.get(letter.len_utf8()..)?;
            match letter {
                '"' => return Some((octets, rest)),
                '$' => return None,
                '\\' => {
                    let escaped = rest.chars().next()?;
                    if let ('"' | '\\' | '$', Ok(octet)) = (escaped, u8::try_from(escaped)) {
                        octets.push(octet);
                        rest = rest.get(1..)?;
                    } else {
                        let digits = rest
                            .get(..2)
                            .filter(|digits| digits.bytes().all(|digit| b"0123456789ABCDEF".contains(&digit)))?;
                        octets.push(u8::from_str_radix(digits, 16).ok()?);
                        rest = rest.get(2..)?;
                    }
                }
                other => octets.extend(other.to_string().bytes()),
            }
        }
    }

    /// A script as a machine reads it.
    #[derive(Debug, Default)]
    pub(in crate::mikrotik) struct Read {
        /// What is in no string and no remark; a string is a `"`.
        pub(in crate::mikrotik) code: String,
        /// What is in strings.
        pub(in crate::mikrotik) strings: Vec<Vec<u8>>,
    }

    /// Reads a script to its end. What is left open, closed too often or closed by another bracket is a panic.
    pub(in crate::mikrotik) fn read(script: &str) -> Read {
        let (mut read, mut open, mut rest) = (Read::default(), Vec::new(), script);
        let mut at_start = true;
        while let Some(letter) = rest.chars().next() {
            rest = &rest[letter.len_utf8()..];
            match letter {
                '#' if at_start => rest = rest.split_once('\n').expect("a remark ends with its line").1,
                '"' => {
                    let (string, after) = unquoted(rest).unwrap_or_else(|| panic!("a string: {rest}"));
                    read.strings.push(string);
                    read.code.push('"');
                    rest = after;
                }
                other => {
                    match other {
                        '(' | '[' | '{' => open.push(other),
                        ')' => assert_eq!(open.pop(), Some('('), "before {rest}"),
                        ']' => assert_eq!(open.pop(), Some('['), "before {rest}"),
                        '}' => assert_eq!(open.pop(), Some('{'), "before {rest}"),
                        _ => assert!(other.is_ascii() && other != '\\', "{other} before {rest}"),
                    }
                    read.code.push(other);
                }
            }
            at_start = letter == '\n' || letter == '#' || (at_start && letter == ' ');
        }
        assert!(open.is_empty(), "left open: {open:?}");
        read
    }

    #[test]
    fn a_string_is_written_as_routeros_reads_it() {
        for (text, written) in [
            ("", "\"\""),
            ("correct horse", "\"correct horse\""),
            ("a\"; /system reset-configuration; \"", "\"a\\\"; /system reset-configuration; \\\"\""),
            ("$(1)$[/x]$y", "\"\\$(1)\\$[/x]\\$y\""),
            ("\\", "\"\\\\\""),
            ("a\nb\r\t\0", "\"a\\0Ab\\0D\\09\\00\""),
            ("é?", "\"\\C3\\A9\\3F\""),
        ] {
            assert_eq!(quoted(text), written);
        }
    }

    proptest! {
        #[test]
        fn no_text_leaves_its_string(text in any::<String>()) {
            let written = quoted(&text);
            prop_assert!(written.bytes().all(|octet| matches!(octet, b' '..=b'~')));
            let read = written.strip_prefix('"').and_then(unquoted);
            prop_assert_eq!(read, Some((text.into_bytes(), "")));
        }
    }
}
