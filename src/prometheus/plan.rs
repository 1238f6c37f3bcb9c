//! What must be known for a query: of which metric, for whom, and how it is added up.

use regex::Regex;

use super::BadData;
use super::catalogue::{CUSTOMER, Metric, NAME};
use super::promql::{Comparison, Matching, Selector, Vector};
use crate::ids::CustomerId;
use crate::limits;

/// How series are counted.
#[derive(Debug, Clone)]
pub struct Plan {
    /// What is counted, and of which series.
    pub choice: Choice,
    /// Minutes that a window has; `None`: as many as the step.
    pub window: Option<u32>,
    /// What is done with the series, in this order.
    pub steps: Vec<Step>,
}

/// One thing that is done with series.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// They are added up, apart for each combination of these labels.
    Sum(Vec<String>),
    /// At each moment the largest so many are kept.
    TopK(usize),
}

/// Series of one metric and one customer.
#[derive(Debug, Clone)]
pub struct Choice {
    /// What is counted.
    pub metric: Metric,
    /// The customer, if one is named.
    pub customer: Option<CustomerId>,
    /// What the other labels must be like.
    pub matchers: Vec<Matcher>,
}

/// What one label must be like.
#[derive(Debug, Clone)]
pub struct Matcher {
    /// The label; one that a series does not have is empty.
    pub label: String,
    test: Test,
    /// Whether series that fit are wanted, or the others.
    wanted: bool,
}

#[derive(Debug, Clone)]
enum Test {
    Is(String),
    Like(Regex),
}

impl Plan {
    /// # Errors
    /// What of the query cannot be answered.
    pub fn of(vector: Vector) -> Result<Self, BadData> {
        match vector {
            Vector::Select(selector) => {
                Ok(Self { choice: Choice::of(selector)?, window: None, steps: Vec::new() })
            }
            Vector::SumOverTime(selector, window) => {
                let choice = Choice::of(selector)?;
                Ok(Self { choice, window: Some(window), steps: Vec::new() })
            }
            Vector::Sum(by, vector) => Self::of(*vector).map(|plan| plan.then(Step::Sum(by))),
            Vector::TopK(k, vector) => Self::of(*vector).map(|plan| plan.then(Step::TopK(k))),
        }
    }

    fn then(mut self, step: Step) -> Self {
        self.steps.push(step);
        self
    }
}

impl Choice {
    /// # Errors
    /// If the selector names no metric, or more than one customer.
    pub fn of(selector: Selector) -> Result<Self, BadData> {
        let named = metric_of(&selector)?
            .ok_or_else(|| BadData(format!("name a metric: there are {}", names())))?;
        let (customer, matchers) = split(selector.matchers)?;
        Ok(Self { metric: named, customer, matchers })
    }
}

/// Which metrics, and which customer, a selector of `match[]` is about.
#[derive(Debug, Clone)]
pub struct Scope {
    /// All metrics, if none is named.
    pub metrics: Vec<Metric>,
    /// The customer, if one is named.
    pub customer: Option<CustomerId>,
    /// What the other labels must be like.
    pub matchers: Vec<Matcher>,
}

/// Everything.
impl Default for Scope {
    fn default() -> Self {
        Self { metrics: Metric::ALL.to_vec(), customer: None, matchers: Vec::new() }
    }
}

impl Scope {
    /// # Errors
    /// If it names a metric that is not there, or more than one customer.
    pub fn of(selector: Selector) -> Result<Self, BadData> {
        let metrics = match metric_of(&selector)? {
            Some(metric) => vec![metric],
            None => Metric::ALL.to_vec(),
        };
        let (customer, matchers) = split(selector.matchers)?;
        Ok(Self { metrics, customer, matchers })
    }
}

fn names() -> String {
    Metric::ALL.map(Metric::name).join(", ")
}

/// The metric that is named, as `name{…}` or as `{__name__="name"}`.
fn metric_of(selector: &Selector) -> Result<Option<Metric>, BadData> {
    let in_braces = selector
        .matchers
        .iter()
        .filter(|matching| matching.label == NAME && matching.how == Comparison::Equal);
    let mut all = selector.metric.iter().chain(in_braces.map(|matching| &matching.value));
    let Some(name) = all.next() else { return Ok(None) };
    if all.any(|other| other != name) {
        return Err(BadData("name one metric".into()));
    }
    let unknown = || BadData(format!("there is no metric {name:?}; there are {}", names()));
    Metric::of_name(name).map(Some).ok_or_else(unknown)
}

/// The customer, and the other matchers.
fn split(all: Vec<Matching>) -> Result<(Option<CustomerId>, Vec<Matcher>), BadData> {
    let mut customer: Option<CustomerId> = None;
    let mut matchers = Vec::new();
    for matching in all {
        match matching.label.as_str() {
            CUSTOMER => {
                let named = named_customer(&matching)?;
                if customer.as_ref().is_some_and(|other| *other != named) {
                    return Err(BadData("name one customer".into()));
                }
                customer = Some(named);
            }
            NAME if matching.how == Comparison::Equal => {}
            _ => matchers.push(Matcher::of(matching)?),
        }
    }
    Ok((customer, matchers))
}

/// T1: the customer is named in full or not at all, so that no pattern reaches another's.
fn named_customer(matching: &Matching) -> Result<CustomerId, BadData> {
    let text = match matching.how {
        Comparison::Equal => Some(matching.value.clone()),
        // Grafana writes `=~` for a variable that could have several values, with dots escaped.
        // Of what a pattern is made of, an id can have the dot alone.
        Comparison::Matches => {
            let is_literal = !matching.value.replace("\\.", "").contains('.');
            is_literal.then(|| matching.value.replace("\\.", "."))
        }
        Comparison::NotEqual | Comparison::NotMatches => None,
    };
    text.and_then(|text| CustomerId::new(&text).ok()).ok_or_else(|| {
        BadData("name one customer, as customer=\"acme\": no pattern, and no list".into())
    })
}

impl Matcher {
    fn of(matching: Matching) -> Result<Self, BadData> {
        let Matching { label, how, value } = matching;
        let test = match how {
            Comparison::Equal | Comparison::NotEqual => Test::Is(value),
            // Anchored at both ends, as in Prometheus.
            Comparison::Matches | Comparison::NotMatches => {
                let regex = regex::RegexBuilder::new(&format!("^(?s:{value})$"))
                    .size_limit(limits::PROMQL_REGEX_BYTES_MAX)
                    .build();
                Test::Like(regex.map_err(|_| {
                    BadData(format!("{label}: the regular expression is not valid, or too large"))
                })?)
            }
        };
        let wanted = matches!(how, Comparison::Equal | Comparison::Matches);
        Ok(Self { label, test, wanted })
    }

    /// Whether a series with this value of the label is meant.
    #[must_use]
    pub fn takes(&self, value: &str) -> bool {
        let fits = match &self.test {
            Test::Is(other) => other == value,
            Test::Like(regex) => regex.is_match(value),
        };
        fits == self.wanted
    }
}
