//! A script as it is run: what of RouterOS's language the scripts are written in.

use std::collections::BTreeMap;

use serde_json::{Map, Value as Json, json};

use super::{ACTIVE, Router, Row};
use crate::mikrotik::script::tests::unquoted;

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value {
    Nothing,
    Number(i64),
    /// Seconds.
    Time(i64),
    Text(String),
    List(Vec<Self>),
    Json(Json),
}

impl Value {
    fn text(&self) -> String {
        match self {
            Self::Nothing | Self::List(_) => String::new(),
            Self::Number(number) => number.to_string(),
            Self::Time(seconds) => format!("{seconds}s"),
            Self::Text(text) => text.clone(),
            Self::Json(json) => json.as_str().map_or_else(|| json.to_string(), str::to_owned),
        }
    }

    pub(super) fn number(&self) -> i64 {
        let text = self.text();
        let (digits, unit) = text.split_at(text.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(text.len()));
        let unit = match unit {
            "" | "s" => 1,
            "m" => 60,
            other => panic!("a number: {text} ({other})"),
        };
        digits.parse::<i64>().unwrap_or_else(|_| panic!("a number: {text}")) * unit
    }
}

/// A script at work.
pub(super) struct Run<'r> {
    router: &'r mut Router,
    scopes: Vec<BTreeMap<String, Value>>,
    /// What `where` looks at.
    row: Option<(String, u32)>,
    /// Where `find` looks if it does not say.
    menu: String,
}

/// What is between brackets, and what comes after them.
fn within(text: &str) -> (&str, &str) {
    let (mut depth, mut rest) = (0, text);
    while let Some(letter) = rest.chars().next() {
        let at = text.len() - rest.len();
        rest = &rest[1..];
        match letter {
            '"' => rest = unquoted(rest).unwrap().1,
            '(' | '[' | '{' => depth += 1,
            ')' | ']' | '}' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return (&text[1..at], rest);
        }
    }
    panic!("left open: {text}");
}

/// The first part of what a separator separates, and the rest.
fn first(text: &str, separators: [char; 2]) -> (&str, &str) {
    let mut rest = text;
    while let Some(letter) = rest.chars().next() {
        if separators.contains(&letter) {
            break;
        }
        rest = match letter {
            '"' => unquoted(&rest[1..]).unwrap().1,
            '(' | '[' | '{' => within(rest).1,
            _ => &rest[1..],
        };
    }
    (&text[..text.len() - rest.len()], rest.get(1..).unwrap_or_default())
}

fn word(text: &str) -> (&str, &str) {
    text.split_at(text.find(|letter: char| " \n;()[]{}\"$=~<>".contains(letter)).unwrap_or(text.len()))
}

impl<'r> Run<'r> {
    pub(super) fn new(router: &'r mut Router, given: Row) -> Self {
        let given = given.into_iter().map(|(name, value)| (name, Value::Text(value))).collect();
        Self { router, scopes: vec![given], row: None, menu: String::new() }
    }

    pub(super) fn block(&mut self, script: &str) -> Result<Value, String> {
        let (mut rest, mut last) = (script, Value::Nothing);
        self.scopes.push(BTreeMap::new());
        while !rest.is_empty() {
            let trimmed = rest.trim_start();
            if trimmed.starts_with('#') {
                rest = trimmed.split_once('\n').map_or("", |(_, rest)| rest);
                continue;
            }
            let (statement, after) = first(trimmed, [';', '\n']);
            rest = after;
            if !statement.trim().is_empty() {
                last = self.statement(statement.trim())?;
            }
        }
        self.scopes.pop();
        Ok(last)
    }

    /// Runs a block, whatever becomes of it.
    fn tried(&mut self, script: &str) -> Result<Value, String> {
        let depth = self.scopes.len();
        let done = self.block(script);
        self.scopes.truncate(depth);
        done
    }

    fn statement(&mut self, text: &str) -> Result<Value, String> {
        if text.starts_with('{') {
            return self.block(within(text).0);
        }
        if text.starts_with('/') {
            return self.menu(text);
        }
        let (verb, rest) = text.split_once(' ').unwrap_or((text, ""));
        match verb {
            ":local" | ":set" => {
                let (name, value) = word(rest);
                let value = self.expression(value)?;
                let mut scopes = self.scopes.iter_mut().rev();
                let found = scopes.find(|scope| verb == ":local" || scope.contains_key(name));
                found.unwrap_or_else(|| panic!("never made: {name}")).insert(name.to_owned(), value);
                Ok(Value::Nothing)
            }
            ":if" => {
                let (condition, rest) = self.atom(rest)?;
                let (then, rest) = within(rest.trim_start().strip_prefix("do=").unwrap());
                let otherwise = rest.trim_start().strip_prefix("else=").map(|block| within(block).0);
                if condition == Value::Number(1) {
                    self.block(then)
                } else {
                    otherwise.map_or(Ok(Value::Nothing), |block| self.block(block))
                }
            }
            ":foreach" => {
                let (name, rest) = word(rest);
                let (list, rest) = self.atom(rest.trim_start().strip_prefix("in=").unwrap())?;
                let Value::List(list) = list else { panic!("a list: {text}") };
                for value in list {
                    self.scopes.push(BTreeMap::from([(name.to_owned(), value)]));
                    self.block(within(rest.trim_start().strip_prefix("do=").unwrap()).0)?;
                    self.scopes.pop();
                }
                Ok(Value::Nothing)
            }
            ":onerror" => {
                let (name, rest) = word(rest);
                let (body, rest) = within(rest.trim_start().strip_prefix("in=").unwrap());
                if let Err(error) = self.tried(body) {
                    self.scopes.push(BTreeMap::from([(name.to_owned(), Value::Text(error))]));
                    self.block(within(rest.trim_start().strip_prefix("do=").unwrap()).0)?;
                    self.scopes.pop();
                }
                Ok(Value::Nothing)
            }
            ":timestamp" => Ok(Value::Time(self.router.now + self.router.clock)),
            ":find" => {
                let (alone, _) = self.arguments(rest)?;
                let at = alone[0].text().find(&alone[1].text());
                Ok(at.map_or(Value::Nothing, |at| Value::Number(i64::try_from(at).unwrap())))
            }
            ":serialize" | ":deserialize" => Ok(self.arguments(rest)?.1["value"].clone()),
            ":log" => self.expression(rest.strip_prefix("warning").unwrap()),
            _ => {
                let value = self.expression(rest)?;
                Ok(match verb {
                    ":tostr" => Value::Text(value.text()),
                    ":tonum" => Value::Number(value.number()),
                    ":totime" => Value::Time(value.number()),
                    ":toarray" => {
                        Value::List(value.text().split(',').map(|part| Value::Text(part.to_owned())).collect())
                    }
                    ":typeof" => Value::Text(if value == Value::Nothing { "nil" } else { "num" }.to_owned()),
                    ":len" => Value::Number(match &value {
                        Value::List(list) => i64::try_from(list.len()).unwrap(),
                        other => i64::try_from(other.text().len()).unwrap(),
                    }),
                    other => panic!("{other} in {text}"),
                })
            }
        }
    }

    /// What stands alone, and what has a name.
    fn arguments(&mut self, text: &str) -> Result<(Vec<Value>, BTreeMap<String, Value>), String> {
        let (mut alone, mut named, mut rest) = (Vec::new(), BTreeMap::new(), text.trim_start());
        while !rest.is_empty() {
            let (name, after) = word(rest);
            let (value, after) = match after.strip_prefix('=') {
                Some(after) if !name.is_empty() => {
                    let (value, after) = self.atom(after)?;
                    named.insert(name.to_owned(), value.clone());
                    (None, after)
                }
                _ => self.atom(rest).map(|(value, after)| (Some(value), after))?,
            };
            alone.extend(value);
            rest = after.trim_start();
        }
        Ok((alone, named))
    }

    fn menu(&mut self, text: &str) -> Result<Value, String> {
        let verbs = [" find", " get ", " add ", " set ", " remove ", " run ", " fetch "];
        let (at, verb) = verbs.iter().filter_map(|verb| Some((text.find(verb)?, *verb))).min().unwrap();
        let (menu, rest) = (text[..at].to_owned(), text[at + verb.len()..].trim_start());
        if verb == " find" {
            let ids: Vec<u32> =
                self.router.tables.get(&menu).map(|rows| rows.keys().copied().collect()).unwrap_or_default();
            let mut found = Vec::new();
            for id in ids {
                self.row = Some((menu.clone(), id));
                if self.expression(rest.strip_prefix("where").unwrap())? == Value::Number(1) {
                    found.push(Value::Number(i64::from(id)));
                }
            }
            self.row = None;
            return Ok(Value::List(found));
        }
        self.menu.clone_from(&menu);
        let (alone, named) = self.arguments(rest)?;
        let ids = || match alone.first() {
            Some(Value::List(ids)) => ids.clone(),
            Some(id) => vec![id.clone()],
            None => Vec::new(),
        };
        let ids: Vec<u32> = ids().iter().filter_map(|id| id.text().parse().ok()).collect();
        let fields = || named.iter().map(|(name, value)| (name.clone(), value.text()));
        match verb {
            " fetch " => {
                let Value::Json(Json::Object(body)) = &named["http-data"] else { panic!("a body: {text}") };
                let answer = self.router.spotgate(&named["url"].text(), body)?;
                Ok(Value::Json(json!({"data": answer})))
            }
            " run " => {
                let scripts = &self.router.tables["/system script"];
                let source = scripts.values().find(|row| row["name"] == alone[0].text()).unwrap()["source"].clone();
                self.router.run(&source, Row::new());
                Ok(Value::Nothing)
            }
            " add " => {
                let since = ("since".to_owned(), (self.router.now + self.router.clock).to_string());
                let row: Row = fields().chain([since]).collect();
                let names = self.router.tables.get(&menu).into_iter().flat_map(BTreeMap::values);
                if names.into_iter().any(|other| row.contains_key("name") && other.get("name") == row.get("name")) {
                    return Err(format!("there is one of this name: {text}"));
                }
                self.router.add(&menu, row);
                Ok(Value::Nothing)
            }
            _ => {
                let mut got = Value::Nothing;
                for id in ids {
                    let rows = self.router.tables.get_mut(&menu).unwrap();
                    let row = rows.get_mut(&id).ok_or("no such item")?;
                    match verb {
                        " set " => row.extend(fields()),
                        " remove " if menu == ACTIVE => self.router.gone(id),
                        " remove " => drop(rows.remove(&id)),
                        _ if alone[1].text() == "uptime" => {
                            got = Value::Time(self.router.now - row["since"].parse::<i64>().unwrap());
                        }
                        _ => got = Value::Text(row[&alone[1].text()].clone()),
                    }
                }
                Ok(got)
            }
        }
    }

    fn atom<'t>(&mut self, text: &'t str) -> Result<(Value, &'t str), String> {
        let text = text.trim_start();
        let (value, mut rest) = match text.chars().next().unwrap_or_else(|| panic!("nothing more")) {
            '"' => {
                let (octets, rest) = unquoted(&text[1..]).unwrap();
                (Value::Text(String::from_utf8(octets).unwrap()), rest)
            }
            '$' => {
                let (name, rest) = match text[1..].strip_prefix('"') {
                    Some(quoted) => quoted.split_once('"').unwrap(),
                    None => text[1..].split_at(
                        text[1..].find(|letter: char| !letter.is_ascii_alphanumeric()).unwrap_or(text.len() - 1),
                    ),
                };
                let value = self.scopes.iter().rev().find_map(|scope| scope.get(name));
                (value.unwrap_or_else(|| panic!("no {name} here: {text}")).clone(), rest)
            }
            '(' => {
                let (inside, rest) = within(text);
                (self.expression(inside)?, rest)
            }
            '[' => {
                let (inside, rest) = within(text);
                let found = inside.starts_with("find ").then(|| format!("{} {inside}", self.menu));
                (self.statement(found.as_deref().unwrap_or(inside))?, rest)
            }
            '{' => {
                let (mut inside, rest) = within(text);
                let mut map = Map::new();
                while !inside.is_empty() {
                    let (pair, after) = first(inside, [';', ';']);
                    inside = after;
                    let (name, value) = unquoted(&pair[1..]).unwrap();
                    let value = match self.expression(&value[1..])? {
                        Value::Number(number) => json!(number),
                        other => json!(other.text()),
                    };
                    map.insert(String::from_utf8(name).unwrap(), value);
                }
                (Value::Json(Json::Object(map)), rest)
            }
            _ => {
                let (word, rest) = word(text);
                assert!(!word.is_empty(), "{text}");
                let field = self.row.as_ref().and_then(|(menu, id)| self.router.tables[menu][id].get(word));
                let is_number = word.bytes().all(|digit| digit.is_ascii_digit());
                let is_time = word
                    .strip_suffix('s')
                    .is_some_and(|digits| !digits.is_empty() && digits.bytes().all(|digit| digit.is_ascii_digit()));
                let plain = Value::Text(field.map_or(word, String::as_str).to_owned());
                (
                    if is_number {
                        Value::Number(plain.number())
                    } else if is_time {
                        Value::Time(plain.number())
                    } else {
                        plain
                    },
                    rest,
                )
            }
        };
        let mut value = value;
        while let Some(after) = rest.strip_prefix("->") {
            let (key, after) = self.atom(after)?;
            value = match value {
                Value::Json(json) => json.get(key.text()).map_or(Value::Nothing, |found| Value::Json(found.clone())),
                Value::List(list) => list[usize::try_from(key.number()).unwrap()].clone(),
                other => panic!("{other:?} in {text}"),
            };
            rest = after;
        }
        Ok((value, rest))
    }

    /// From the left to the right, but for `and` and `or`; the scripts have brackets where it matters.
    fn expression(&mut self, text: &str) -> Result<Value, String> {
        let (mut value, mut rest) = self.atom(text)?;
        loop {
            rest = rest.trim_start();
            let operators = ["and ", "or ", ">=", "<=", ">", "<", "=", "~", ". ", "- ", "+ "];
            let Some(operator) = operators.into_iter().find(|operator| rest.starts_with(operator)) else {
                assert!(rest.is_empty(), "{rest} in {text}");
                return Ok(value);
            };
            let after = &rest[operator.len()..];
            if let "and " | "or " = operator {
                let both = [value, self.expression(after)?].map(|value| value == Value::Number(1));
                let met = if operator == "or " { both.contains(&true) } else { !both.contains(&false) };
                return Ok(Value::Number(i64::from(met)));
            }
            let (other, after) = self.atom(after)?;
            rest = after;
            let is = |condition: bool| Value::Number(i64::from(condition));
            value = match operator {
                "=" => is(value.text() == other.text()),
                "~" => is(value.text().starts_with(other.text().strip_prefix('^').unwrap())),
                ">" => is(value.number() > other.number()),
                ">=" => is(value.number() >= other.number()),
                "<=" => is(value.number() <= other.number()),
                ". " => Value::Text(value.text() + &other.text()),
                "- " => {
                    let left = value.number() - other.number();
                    if let Value::Time(_) = value { Value::Time(left) } else { Value::Number(left) }
                }
                _ => panic!("{operator} in {text}"),
            };
        }
    }
}
