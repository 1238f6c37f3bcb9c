//! The form of an answer: JSON, one JSON object a line, or a table; and whether the client has it.

use std::fmt::Write as _;

use axum::http::header::{ACCEPT, IF_NONE_MATCH};
use axum::http::{HeaderMap, HeaderValue};
use serde::Serialize;
use xxhash_rust::xxh3::xxh3_128;

use crate::http::problem::{Problem, Type};

/// How an answer is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    Json,
    /// One row a line.
    Ndjson,
    Csv,
}

/// What can be written in every form.
pub(super) trait Answer: Serialize {
    /// What stands in a line of its own.
    type Row<'a>: Serialize
    where
        Self: 'a;

    /// The lines.
    fn rows(&self) -> impl Iterator<Item = Self::Row<'_>>;

    /// The table, its head first.
    fn table(&self, table: &mut Table);
}

impl Form {
    const ALL: [Self; 3] = [Self::Json, Self::Ndjson, Self::Csv];

    /// The form that the client likes best, RFC 9110, section 12.5.1. Of equal ones JSON.
    pub(super) fn wanted(headers: &HeaderMap) -> Result<Self, Problem> {
        let lists = headers.get_all(ACCEPT).iter().map(|value| value.to_str().unwrap_or_default());
        let wanted: Vec<&str> = lists.flat_map(|list| list.split(',')).map(str::trim).collect();
        if wanted.iter().all(|range| range.is_empty()) {
            return Ok(Self::Json);
        }
        let mut best = None;
        for form in Self::ALL {
            let quality = form.quality(&wanted);
            if quality > best.map_or(0, |(_, most)| most) {
                best = Some((form, quality));
            }
        }
        best.map(|(form, _)| form).ok_or_else(|| {
            let detail = "the header accept takes nothing that there is: application/json, \
                          application/x-ndjson and text/csv";
            Problem::new(Type::NotAcceptable, detail)
        })
    }

    /// In thousandths; what the most specific of the ranges says.
    fn quality(self, wanted: &[&str]) -> u16 {
        let (names, group): (&[&str], _) = match self {
            Self::Json => (&["application/json"], "application/*"),
            Self::Ndjson => (&["application/x-ndjson", "application/jsonl"], "application/*"),
            Self::Csv => (&["text/csv"], "text/*"),
        };
        let mut found = (0, 0);
        for range in wanted {
            let (range, parameters) = range.split_once(';').unwrap_or((range, ""));
            let range = range.trim().to_ascii_lowercase();
            let specific = match range.as_str() {
                name if names.contains(&name) => 3,
                name if name == group => 2,
                "*/*" => 1,
                _ => continue,
            };
            if specific > found.0 {
                found = (specific, thousandths(parameters));
            }
        }
        found.1
    }

    pub(super) fn media_type(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::Ndjson => "application/x-ndjson",
            Self::Csv => "text/csv; charset=utf-8",
        }
    }

    /// The answer in this form.
    pub(super) fn write(self, answer: &impl Answer) -> Vec<u8> {
        const PLAIN: &str = "plain data is always JSON";
        match self {
            Self::Json => serde_json::to_vec(answer).expect(PLAIN),
            Self::Ndjson => {
                let mut lines = Vec::new();
                for row in answer.rows() {
                    serde_json::to_writer(&mut lines, &row).expect(PLAIN);
                    lines.push(b'\n');
                }
                lines
            }
            Self::Csv => {
                let mut table = Table(csv::Writer::from_writer(Vec::new()));
                answer.table(&mut table);
                table.0.into_inner().expect("memory takes everything")
            }
        }
    }
}

/// The weight among a range's parameters; without one, all of it.
fn thousandths(parameters: &str) -> u16 {
    let mut parameters = parameters.split(';').filter_map(|parameter| parameter.split_once('='));
    let weight = parameters.find(|(name, _)| name.trim().eq_ignore_ascii_case("q"));
    let Some((_, weight)) = weight else { return 1_000 };
    let weight: f32 = weight.trim().parse().unwrap_or(0.0);
    // Between 0 and 1 by the clamp; what is no number is 0.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0 to 1000")]
    let thousandths = (weight.clamp(0.0, 1.0) * 1_000.0) as u16;
    thousandths
}

/// A table of RFC 4180.
pub(super) struct Table(csv::Writer<Vec<u8>>);

impl Table {
    pub(super) fn line<T: AsRef<str>>(&mut self, cells: impl IntoIterator<Item = T>) {
        let cells = cells.into_iter().map(|cell| cell.as_ref().as_bytes().to_vec());
        self.0.write_record(cells).expect("lines of a table are of one length");
    }
}

/// Answers that a client has, by their tags.
#[derive(Debug, Default)]
pub(super) struct Known(Option<String>);

impl Known {
    pub(super) fn read(headers: &HeaderMap) -> Self {
        let lists = headers.get_all(IF_NONE_MATCH).iter().filter_map(|list| list.to_str().ok());
        let all = lists.collect::<Vec<_>>().join(",");
        Self((!all.is_empty()).then_some(all))
    }

    /// Whether one of them is this; weak comparison, RFC 9110, section 13.1.2.
    pub(super) fn has(&self, tag: &HeaderValue) -> bool {
        let tag = tag.to_str().unwrap_or_default();
        let tags = self.0.iter().flat_map(|all| all.split(','));
        tags.map(|tag| tag.trim().trim_start_matches("W/"))
            .any(|known| known == tag || known == "*")
    }
}

/// Tells answers apart by what they say: equal ones have the same tag, at any time.
pub(super) fn tag(form: Form, body: &[u8], link: Option<&str>) -> HeaderValue {
    let mut text = String::with_capacity(40);
    let more = xxh3_128(link.unwrap_or_default().as_bytes()).rotate_left(form as u32 + 1);
    write!(text, "\"{:032x}\"", xxh3_128(body) ^ more).expect("a string takes everything");
    HeaderValue::from_str(&text).expect("hexadecimal")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(accept: &[&str]) -> Option<Form> {
        let mut headers = HeaderMap::new();
        for value in accept {
            headers.append(ACCEPT, HeaderValue::from_str(value).expect("a value"));
        }
        Form::wanted(&headers).ok()
    }

    #[test]
    fn the_client_gets_what_it_likes_best() {
        assert_eq!(wanted(&[]), Some(Form::Json));
        assert_eq!(wanted(&["*/*"]), Some(Form::Json));
        assert_eq!(wanted(&["text/csv"]), Some(Form::Csv));
        assert_eq!(wanted(&["text/csv;q=0.5, application/x-ndjson"]), Some(Form::Ndjson));
        assert_eq!(wanted(&["text/csv; q=0.5", "application/*;q=0.4"]), Some(Form::Csv));
        assert_eq!(wanted(&["text/*"]), Some(Form::Csv));
        assert_eq!(
            wanted(&["*/*, application/json;q=0, application/x-ndjson;q=0"]),
            Some(Form::Csv)
        );
        let browser = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8";
        assert_eq!(wanted(&[browser]), Some(Form::Json));
        for nothing in ["text/html", "application/json;q=0", "nonsense", "application/json;q=x"] {
            assert_eq!(wanted(&[nothing]), None, "{nothing}");
        }
    }

    #[test]
    fn a_tag_is_of_the_answer_and_of_nothing_else() {
        let one = tag(Form::Json, b"{}", None);
        assert_eq!(one, tag(Form::Json, b"{}", None));
        let others = [
            tag(Form::Csv, b"{}", None),
            tag(Form::Json, b"{ }", None),
            tag(Form::Json, b"{}", Some("/analytics?cursor=m1")),
        ];
        assert!(others.iter().all(|other| *other != one));
        let known = |list: &str| Known(Some(list.to_owned())).has(&one);
        let text = one.to_str().expect("ASCII");
        assert!(known(text) && known(&format!("\"a\", W/{text}")) && known("*"));
        assert!(!known("\"a\"") && !Known::default().has(&one));
    }
}
