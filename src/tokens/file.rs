//! The tokens file, TOML: from text to grants, or to every mistake with its line.
//!
//! Read by hand from the parsed document and not by serde, whose messages repeat the value that is
//! wrong. Here that may be a token in the wrong place, so that no message repeats any.

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use hashbrown::HashMap;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::{Grant, SenderDefaults};
use crate::config::MissingKey;
use crate::decode::{Formats, OnInvalid};
use crate::ids::{CustomerId, InvalidId};
use crate::limits::{TOKEN_BYTES_MIN, TOKEN_MISTAKES_LISTED_MAX};

const KEYS: &str = "token, customers, operator, format, key and on_invalid";

/// What is not right at a line of the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mistake {
    /// From 1.
    pub line: usize,
    /// What is wrong, and what would be right.
    pub what: String,
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.what)
    }
}

/// One `[[token]]`. Has no `Debug`: it holds the token.
pub(super) struct Entry<'t> {
    pub(super) token: Cow<'t, str>,
    pub(super) grant: Grant,
}

/// Every token of the file.
pub(super) fn parse<'t>(text: &'t str, formats: &Formats) -> Result<Vec<Entry<'t>>, Vec<Mistake>> {
    let breaks = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n');
    let breaks = breaks.map(|(at, _)| at).collect();
    let mut reader = Reader { formats, breaks, mistakes: Vec::new() };
    let entries = match DeTable::parse(text) {
        Ok(file) => reader.file(file.into_inner()),
        Err(error) => {
            let at = error.span().unwrap_or_default();
            reader.wrong(&at, format!("is not valid TOML: {}", error.message()));
            Vec::new()
        }
    };
    let mut mistakes = reader.mistakes;
    if mistakes.is_empty() {
        return Ok(entries);
    }
    mistakes.sort_by_key(|mistake| mistake.line);
    let more = mistakes.len().saturating_sub(TOKEN_MISTAKES_LISTED_MAX);
    if more > 0 {
        mistakes.truncate(TOKEN_MISTAKES_LISTED_MAX);
        let last = mistakes.last_mut().expect("there are some");
        last.what.push_str(&format!("; and {more} more mistakes below"));
    }
    Err(mistakes)
}

/// The values of a token that are right so far.
#[derive(Default)]
struct Draft<'t> {
    token: Option<Cow<'t, str>>,
    grant: Grant,
    defaults: SenderDefaults,
    /// It is there, right or not: what is wrong with it is said already.
    names_token: bool,
    names_customers: bool,
}

struct Reader<'f> {
    formats: &'f Formats,
    /// Where each line ends.
    breaks: Vec<usize>,
    mistakes: Vec<Mistake>,
}

impl Reader<'_> {
    fn file<'t>(&mut self, file: DeTable<'t>) -> Vec<Entry<'t>> {
        let mut entries = Vec::new();
        for (name, value) in file {
            match (name.get_ref().as_ref(), value.into_inner()) {
                ("token", DeValue::Array(tokens)) => entries.extend(self.tokens(tokens)),
                _ => self.wrong(&name.span(), "must be a [[token]], in double brackets"),
            }
        }
        if entries.is_empty() && self.mistakes.is_empty() {
            self.wrong(&(0..0), "the file has no [[token]]: with it, nobody could send or read");
        }
        entries
    }

    fn tokens<'t>(
        &mut self,
        tokens: impl IntoIterator<Item = Spanned<DeValue<'t>>>,
    ) -> Vec<Entry<'t>> {
        let mut entries = Vec::new();
        // Where each token stands, to say where a second one has its like.
        let mut lines: HashMap<Cow<'t, str>, usize> = HashMap::new();
        for token in tokens {
            let at = token.span();
            let DeValue::Table(table) = token.into_inner() else {
                self.wrong(&at, "must be a [[token]], in double brackets");
                continue;
            };
            let Some(entry) = self.token(&at, table) else { continue };
            let line = self.line(&at);
            match lines.insert(entry.token.clone(), line) {
                Some(before) => {
                    self.wrong(&at, format!("has the same token as the one in line {before}"));
                }
                None => entries.push(entry),
            }
        }
        entries
    }

    /// What one `[[token]]` says, if that can be told at all.
    fn token<'t>(&mut self, at: &Range<usize>, table: DeTable<'t>) -> Option<Entry<'t>> {
        let mut draft = Draft::default();
        for (name, value) in table {
            self.field(&mut draft, &name, value);
        }
        let Draft { token, mut grant, defaults, names_token, names_customers } = draft;
        if !names_customers && !grant.operator {
            self.wrong(at, "needs customers = [\"…\"], or operator = true to read them all");
        }
        if !names_customers && defaults != SenderDefaults::default() {
            self.wrong(at, "has format, key or on_invalid but no customers to send for");
        }
        if !names_token {
            self.wrong(at, "needs a token");
        }
        grant.defaults = Arc::new(defaults);
        token.map(|token| Entry { token, grant })
    }

    fn field<'t>(
        &mut self,
        draft: &mut Draft<'t>,
        name: &Spanned<Cow<'t, str>>,
        value: Spanned<DeValue<'t>>,
    ) {
        let at = name.span();
        match (name.get_ref().as_ref(), value.into_inner()) {
            ("token", DeValue::String(token)) => {
                let is_visible = token.bytes().all(|byte| byte.is_ascii_graphic());
                if !is_visible || token.len() < TOKEN_BYTES_MIN {
                    self.wrong(
                        &at,
                        format!(
                            "token must have at least {TOKEN_BYTES_MIN} visible ASCII characters"
                        ),
                    );
                }
                draft.names_token = true;
                draft.token = Some(token);
            }
            ("customers", DeValue::Array(customers)) if !customers.is_empty() => {
                draft.names_customers = true;
                for customer in customers {
                    self.customer(&mut draft.grant, &customer);
                }
            }
            ("operator", DeValue::Boolean(operator)) => draft.grant.operator = operator,
            ("format", DeValue::String(format)) if self.formats.get(&format).is_some() => {
                draft.defaults.format = Some(format.into_owned());
            }
            ("key", DeValue::String(key)) if MissingKey::from_name(&key).is_some() => {
                draft.defaults.key = MissingKey::from_name(&key);
            }
            ("on_invalid", DeValue::String(choice)) if OnInvalid::from_name(&choice).is_some() => {
                draft.defaults.on_invalid = OnInvalid::from_name(&choice);
            }
            ("token", _) => {
                draft.names_token = true;
                self.wrong(&at, "token must be text");
            }
            ("customers", _) => {
                draft.names_customers = true;
                self.wrong(&at, "customers must be a list of at least one, [\"acme\"]");
            }
            ("operator", _) => self.wrong(&at, "operator must be true or false"),
            ("format", _) => {
                let known: Vec<_> = self.formats.names().collect();
                self.wrong(&at, format!("format must be one of {}", known.join(", ")));
            }
            ("key", _) => self.wrong(&at, "key must be \"reject\", \"derive\" or \"generate\""),
            ("on_invalid", _) => self.wrong(&at, "on_invalid must be \"reject\" or \"skip\""),
            _ => self.wrong(&at, format!("is an unknown key; known are {KEYS}")),
        }
    }

    fn customer(&mut self, grant: &mut Grant, customer: &Spanned<DeValue<'_>>) {
        let at = customer.span();
        let Some(text) = customer.get_ref().as_str() else {
            return self.wrong(&at, "a customer must be text");
        };
        match CustomerId::new(text) {
            Ok(customer) if grant.customers.insert(customer.clone()) => {}
            Ok(_) => self.wrong(&at, "names a customer twice"),
            Err(InvalidId(reason)) => self.wrong(&at, format!("a customer {reason}")),
        }
    }

    fn wrong(&mut self, at: &Range<usize>, what: impl Into<String>) {
        let line = self.line(at);
        self.mistakes.push(Mistake { line, what: what.into() });
    }

    fn line(&self, at: &Range<usize>) -> usize {
        1 + self.breaks.partition_point(|end| *end < at.start)
    }
}
