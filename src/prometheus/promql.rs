//! The part of PromQL that is taken, from text to a tree:
//!
//! ```text
//! query    = number { ("+" | "-") number } | vector
//! vector   = selector | "sum_over_time" "(" selector "[" duration "]" ")"
//!          | "sum" [ by ] "(" vector ")" [ by ] | "topk" "(" number "," vector ")"
//!          | "(" vector ")"
//! by       = "by" "(" [ label { "," label } ] ")"
//! selector = metric [ matchers ] | matchers
//! matchers = "{" [ label ( "=" | "!=" | "=~" | "!~" ) string { "," … } ] "}"
//! ```
//!
//! Sums of numbers are there because Grafana asks for `1+1` to see whether anybody is there.

use super::BadData;
use super::time::{duration_minutes, duration_seconds};
use crate::limits;

/// A query.
#[derive(Debug, Clone, PartialEq)]
pub enum Query {
    /// A number, already added up.
    Number(f64),
    /// Series.
    Vector(Vector),
}

/// What series come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Vector {
    /// Those of a metric.
    Select(Selector),
    /// The same, with windows of so many minutes.
    SumOverTime(Selector, u32),
    /// Added up, apart for each combination of these labels.
    Sum(Vec<String>, Box<Self>),
    /// At each moment the largest so many.
    TopK(usize, Box<Self>),
}

/// Which series.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Selector {
    /// The metric, if one is named.
    pub metric: Option<String>,
    /// What labels must be like.
    pub matchers: Vec<Matching>,
}

/// What one label must be like.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Matching {
    /// The label.
    pub label: String,
    /// How it is compared.
    pub how: Comparison,
    /// With what.
    pub value: String,
}

/// How a label is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Comparison {
    /// `=`
    Equal,
    /// `!=`
    NotEqual,
    /// `=~`
    Matches,
    /// `!~`
    NotMatches,
}

const TAKEN: &str = "of PromQL this takes a selector like logmill_requests{customer=\"acme\"}, and \
                     sum_over_time(…[1h]), sum(…), sum by (…) (…) and topk(…, …) of it";

/// Parses a query.
///
/// # Errors
/// What is wrong, and where.
pub fn parse(text: &str) -> Result<Query, BadData> {
    let mut parser = Parser::new(text)?;
    let query = match parser.number()? {
        Some(number) => Query::Number(parser.sum_of_numbers(number)?),
        None => Query::Vector(parser.vector(0)?),
    };
    parser.end()?;
    Ok(query)
}

/// Parses a selector alone, as `match[]` has it.
///
/// # Errors
/// What is wrong, and where.
pub fn parse_selector(text: &str) -> Result<Selector, BadData> {
    let mut parser = Parser::new(text)?;
    let selector = parser.selector()?;
    parser.end()?;
    Ok(selector)
}

struct Parser<'t> {
    text: &'t str,
    rest: &'t str,
}

impl<'t> Parser<'t> {
    fn new(text: &'t str) -> Result<Self, BadData> {
        let max = limits::PROMQL_BYTES_MAX;
        if text.len() > max {
            return Err(BadData(format!("the query is longer than {max} bytes")));
        }
        Ok(Self { text, rest: text.trim_start() })
    }

    fn refused(&self, expected: &str) -> BadData {
        let at = self.text[..self.text.len() - self.rest.len()].chars().count() + 1;
        let found: String = self.rest.chars().take(20).collect();
        let found = if found.is_empty() { "the end".to_owned() } else { format!("{found:?}") };
        BadData(format!("at character {at}: expected {expected}, found {found}; {TAKEN}"))
    }

    fn end(&self) -> Result<(), BadData> {
        self.rest.is_empty().then_some(()).ok_or_else(|| self.refused("the end"))
    }

    /// Takes a mark or nothing.
    fn take(&mut self, mark: &str) -> bool {
        let Some(rest) = self.rest.strip_prefix(mark) else { return false };
        self.rest = rest.trim_start();
        true
    }

    fn expect(&mut self, mark: &str) -> Result<(), BadData> {
        if self.take(mark) { Ok(()) } else { Err(self.refused(&format!("{mark:?}"))) }
    }

    /// Takes as much as belongs together.
    fn word(&mut self, belongs: impl Fn(char) -> bool) -> &'t str {
        let end = self.rest.find(|c| !belongs(c)).unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(end);
        self.rest = rest.trim_start();
        word
    }

    fn name(&mut self, what: &str) -> Result<&'t str, BadData> {
        let begins = |c: char| c.is_ascii_alphabetic() || matches!(c, '_' | ':');
        if !self.rest.starts_with(begins) {
            return Err(self.refused(what));
        }
        Ok(self.word(|c| begins(c) || c.is_ascii_digit()))
    }

    fn number(&mut self) -> Result<Option<f64>, BadData> {
        if !self.rest.starts_with(|c: char| c.is_ascii_digit()) {
            return Ok(None);
        }
        let here = self.refused("a number");
        let word = self.word(|c| c.is_ascii_digit() || c == '.');
        word.parse().map(Some).map_err(|_| here)
    }

    fn sum_of_numbers(&mut self, mut sum: f64) -> Result<f64, BadData> {
        loop {
            let sign = match self.rest.chars().next() {
                Some('+') => 1.0,
                Some('-') => -1.0,
                _ => return Ok(sum),
            };
            self.rest = self.rest[1..].trim_start();
            sum += sign * self.number()?.ok_or_else(|| self.refused("a number"))?;
        }
    }

    fn vector(&mut self, depth: usize) -> Result<Vector, BadData> {
        if depth > limits::PROMQL_DEPTH_MAX {
            return Err(BadData("the query is nested too deeply".into()));
        }
        if self.take("(") {
            let vector = self.vector(depth + 1)?;
            self.expect(")")?;
            return Ok(vector);
        }
        let before = self.rest;
        let word = if before.starts_with('{') { "" } else { self.name("a metric")? };
        match word {
            "sum_over_time" => {
                self.expect("(")?;
                let selector = self.selector()?;
                let minutes = self.range()?;
                self.expect(")")?;
                Ok(Vector::SumOverTime(selector, minutes))
            }
            "sum" => {
                let before = self.by()?;
                self.expect("(")?;
                let vector = self.vector(depth + 1)?;
                self.expect(")")?;
                let by = if before.is_some() { before } else { self.by()? };
                Ok(Vector::Sum(by.unwrap_or_default(), Box::new(vector)))
            }
            "topk" => {
                self.expect("(")?;
                let here = self.refused("a whole number from 1 on");
                let k = self.word(|c| c.is_ascii_digit()).parse().ok().filter(|k| *k > 0);
                let k = k.ok_or(here)?;
                self.expect(",")?;
                let vector = self.vector(depth + 1)?;
                self.expect(")")?;
                Ok(Vector::TopK(k, Box::new(vector)))
            }
            _ => {
                self.rest = before;
                Ok(Vector::Select(self.selector()?))
            }
        }
    }

    /// `by (…)`, if it is there.
    fn by(&mut self) -> Result<Option<Vec<String>>, BadData> {
        let before = self.rest;
        if self.word(|c| c.is_ascii_alphabetic()) != "by" {
            self.rest = before;
            return Ok(None);
        }
        self.expect("(")?;
        let mut labels = Vec::new();
        while !self.take(")") {
            if !labels.is_empty() {
                self.expect(",")?;
            }
            labels.push(self.name("a label")?.to_owned());
        }
        Ok(Some(labels))
    }

    /// `[5m]`
    fn range(&mut self) -> Result<u32, BadData> {
        self.expect("[")?;
        let here = self.refused("a duration like 5m");
        let word = self.word(|c| c.is_ascii_alphanumeric());
        let minutes = duration_seconds(word).and_then(duration_minutes).ok_or(here)?;
        self.expect("]")?;
        Ok(minutes)
    }

    fn selector(&mut self) -> Result<Selector, BadData> {
        let mut selector = Selector::default();
        if !self.rest.starts_with('{') {
            selector.metric = Some(self.name("a metric")?.to_owned());
        }
        if self.take("{") {
            while !self.take("}") {
                if !selector.matchers.is_empty() {
                    self.expect(",")?;
                    // Prometheus takes a comma at the end too.
                    if self.take("}") {
                        break;
                    }
                }
                let max = limits::PROMQL_MATCHERS_MAX;
                if selector.matchers.len() == max {
                    return Err(BadData(format!("a selector has more than {max} matchers")));
                }
                selector.matchers.push(self.matching()?);
            }
        }
        Ok(selector)
    }

    fn matching(&mut self) -> Result<Matching, BadData> {
        let label = self.name("a label")?.to_owned();
        let known = [
            ("=~", Comparison::Matches),
            ("!~", Comparison::NotMatches),
            ("!=", Comparison::NotEqual),
            ("=", Comparison::Equal),
        ];
        let how = known.into_iter().find(|(mark, _)| self.take(mark));
        let (_, how) = how.ok_or_else(|| self.refused("one of = != =~ !~"))?;
        Ok(Matching { label, how, value: self.string()? })
    }

    /// A string in any of the three kinds of quotes.
    fn string(&mut self) -> Result<String, BadData> {
        let quote = self.rest.chars().next().filter(|c| matches!(c, '"' | '\'' | '`'));
        let quote = quote.ok_or_else(|| self.refused("a string in quotes"))?;
        let mut value = String::new();
        let mut chars = self.rest[1..].chars();
        loop {
            let next = match chars.next() {
                Some(c) if c == quote => break,
                Some('\\') if quote != '`' => match chars.next() {
                    Some('n') => Some('\n'),
                    Some('t') => Some('\t'),
                    Some('r') => Some('\r'),
                    Some(c @ ('\\' | '"' | '\'')) => Some(c),
                    _ => None,
                },
                other => other,
            };
            let refused = || self.refused("a string that ends, and only \\\\ \\\" \\' \\n \\t \\r");
            value.push(next.ok_or_else(refused)?);
        }
        self.rest = chars.as_str().trim_start();
        Ok(value)
    }
}
