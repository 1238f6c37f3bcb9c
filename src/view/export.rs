//! Answers as they are, all their pages one after the other.
//!
//! What the server writes is copied; only JSON is put together anew, so that its pages become one
//! document. Names in it may hold anything: JSON gets them escaped, which says the same, and a
//! terminal never gets the raw bytes of a table.

use std::io::Write;

use indicatif::{HumanBytes, ProgressBar, ProgressStyle};
use serde_json::{Map, Value};

use super::error::ViewError;
use super::text::{Screen, clean, is_steering};
use crate::client::{JSON, Page, Question, Server};

/// How an export is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// A table of RFC 4180 with a head.
    Csv,
    /// One JSON object a line.
    Ndjson,
    /// One document.
    Json,
}

impl Form {
    fn accept(self) -> &'static str {
        match self {
            Self::Csv => "text/csv",
            Self::Ndjson => "application/x-ndjson",
            Self::Json => JSON,
        }
    }
}

/// How far an export is; on stderr, and only if that is a terminal.
pub struct Progress(ProgressBar);

impl Progress {
    /// Nothing is seen before the first page.
    #[must_use]
    pub fn new() -> Self {
        let bar = ProgressBar::new_spinner();
        if let Ok(style) = ProgressStyle::with_template("{spinner} {elapsed} {msg}") {
            bar.set_style(style);
        }
        Self(bar)
    }

    fn tell(&self, pages: u64, bytes: u64) {
        self.0.set_message(format!("{pages} pages, {}", HumanBytes(bytes)));
        self.0.tick();
    }
}

impl Default for Progress {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}

/// Writes the answer to the question, all of its pages or just the first.
///
/// # Errors
/// [`ViewError`]; what was written until then is whole pages.
pub fn export(
    server: &Server,
    question: &Question,
    (form, all_pages): (Form, bool),
    screen: Screen,
    out: &mut dyn Write,
) -> Result<(), ViewError> {
    let progress = Progress::new();
    let (mut pages, mut bytes) = (0, 0);
    let mut document = Document::default();
    server.pages(question, form.accept(), |page| -> Result<bool, ViewError> {
        pages += 1;
        bytes += page.body.len() as u64;
        match form {
            Form::Csv => {
                let table = text(&page, server)?;
                let rows = if pages == 1 { table } else { behind_head(table) };
                out.write_all(shown(rows, screen).as_bytes())?;
            }
            Form::Ndjson => out.write_all(escaped(text(&page, server)?).as_bytes())?,
            Form::Json => document.add(&page, server, out)?,
        }
        progress.tell(pages, bytes);
        Ok(all_pages)
    })?;
    if form == Form::Json {
        document.end(out)?;
    }
    out.flush()?;
    Ok(())
}

/// Prints a page of JSON in a line.
pub(super) fn print_json(
    page: &Page,
    server: &Server,
    out: &mut impl Write,
) -> Result<(), ViewError> {
    let document: Value =
        serde_json::from_slice(&page.body).map_err(|error| server.foreign(&error))?;
    writeln!(out, "{}", escaped(&document.to_string()))?;
    out.flush()?;
    Ok(())
}

fn text<'p>(page: &'p Page, server: &Server) -> Result<&'p str, ViewError> {
    std::str::from_utf8(&page.body).map_err(|error| server.foreign(&error).into())
}

/// The rows of a table; a head has no line break in it.
fn behind_head(table: &str) -> &str {
    table.split_once('\n').map_or("", |(_, rows)| rows)
}

/// A table as a person may see it; whoever reads it by a program gets it as it is.
fn shown(table: &str, screen: Screen) -> String {
    if !screen.is_terminal {
        return table.to_owned();
    }
    table.split_inclusive('\n').fold(String::new(), |mut shown, line| {
        let end = if line.ends_with('\n') { "\n" } else { "" };
        shown.push_str(&clean(line.trim_end_matches(['\r', '\n'])));
        shown.push_str(end);
        shown
    })
}

/// Lines of JSON with what steers a terminal escaped: outside of strings there is none of it.
pub(super) fn escaped(json: &str) -> String {
    json.chars().fold(String::with_capacity(json.len()), |mut escaped, c| {
        if is_steering(c) && c != '\n' {
            escaped.push_str(&format!("\\u{:04x}", u32::from(c)));
        } else {
            escaped.push(c);
        }
        escaped
    })
}

/// Pages of one answer that become one document: the list that each of them has a part of, between
/// what the first says before it and what is true of all of them after it.
#[derive(Default)]
struct Document {
    /// The list's name, and whether something stands in it.
    list: Option<(String, bool)>,
    /// Requests that are not listed, if the answer says so.
    others: Option<u64>,
}

impl Document {
    fn add(&mut self, page: &Page, server: &Server, out: &mut dyn Write) -> Result<(), ViewError> {
        let mut fields: Map<String, Value> =
            serde_json::from_slice(&page.body).map_err(|error| server.foreign(&error))?;
        let lists = ["windows", "points", "top"];
        let list = lists.into_iter().find_map(|name| match fields.remove(name) {
            Some(Value::Array(rows)) => Some((name, rows)),
            _ => None,
        });
        let (name, rows) = list.ok_or_else(|| server.foreign("there is no list in it"))?;
        if self.list.is_none() {
            self.begin(name, fields, out)?;
        }
        for row in &rows {
            let before = match &mut self.list {
                Some((_, is_begun)) if *is_begun => ",",
                Some((_, is_begun)) => {
                    *is_begun = true;
                    ""
                }
                None => "",
            };
            if let (Some(others), Some(listed)) = (&mut self.others, row["requests"].as_u64()) {
                *others = others.saturating_sub(listed);
            }
            write!(out, "{before}{}", escaped(&row.to_string()))?;
        }
        Ok(())
    }

    fn begin(
        &mut self,
        name: &str,
        mut fields: Map<String, Value>,
        out: &mut dyn Write,
    ) -> Result<(), ViewError> {
        fields.remove("next");
        if fields.remove("others").is_some() {
            self.others = fields.get("requests").and_then(Value::as_u64);
        }
        write!(out, "{{")?;
        for (field, value) in &fields {
            let field = Value::from(field.as_str());
            write!(out, "{}:{},", escaped(&field.to_string()), escaped(&value.to_string()))?;
        }
        write!(out, "\"{name}\":[")?;
        self.list = Some((name.to_owned(), false));
        Ok(())
    }

    fn end(&self, out: &mut dyn Write) -> Result<(), ViewError> {
        write!(out, "]")?;
        if let Some(others) = self.others {
            write!(out, ",\"others\":{others}")?;
        }
        writeln!(out, ",\"next\":null}}")?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::AskError;

    const PIPE: Screen = Screen { is_terminal: false, is_coloured: false, columns: 80 };

    #[test]
    fn a_terminal_never_gets_raw_control_characters() {
        let table = "key,requests\n\"/a\u{1b}[2J\",3\n\"\u{9b}31m\u{202e}\",1\n";
        assert_eq!(shown(table, PIPE), table, "a program gets what there is");
        let terminal = Screen { is_terminal: true, ..PIPE };
        let safe = "key,requests\n\"/a\\u{1b}[2J\",3\n\"\\u{9b}31m\\u{202e}\",1\n";
        assert_eq!(shown(table, terminal), safe);

        let json = "{\"/a\u{7f}\u{9b}\":1}\n";
        assert_eq!(escaped(json), "{\"/a\\u007f\\u009b\":1}\n");
        let of = |text: &str| serde_json::from_str::<Value>(text).expect("JSON");
        assert_eq!(of(&escaped(json)), of(json), "it says the same");
    }

    #[test]
    fn further_pages_come_without_their_head() {
        assert_eq!(behind_head("key,requests\n/a,1\n/b,2\n"), "/a,1\n/b,2\n");
        assert_eq!(behind_head("key,requests\n"), "");
        assert_eq!(behind_head(""), "");
    }

    #[test]
    fn pages_of_json_become_one_document() {
        let server = crate::view::server("http://127.0.0.1:1".into(), None, None);
        let page = |body: &str| Page { body: body.into(), next: None, tag: None };
        let (mut out, mut document) = (Vec::new(), Document::default());
        for body in [
            r#"{"by":"path","requests":10,"top":[{"key":"/a","requests":5}],"others":5,"next":"r1"}"#,
            r#"{"by":"path","requests":10,"top":[],"others":10,"next":"r2"}"#,
            r#"{"by":"path","requests":10,"top":[{"key":"/b","requests":3}],"others":7,"next":null}"#,
        ] {
            document.add(&page(body), &server, &mut out).expect("a page");
        }
        document.end(&mut out).expect("a Vec takes all");
        let joined = r#"{"by":"path","requests":10,"top":[{"key":"/a","requests":5},{"key":"/b","requests":3}],"others":2,"next":null}"#;
        assert_eq!(String::from_utf8(out).expect("text"), format!("{joined}\n"));
        let error = Document::default().add(&page("{}"), &server, &mut Vec::new());
        assert!(matches!(error, Err(ViewError::Ask(AskError::Foreign { .. }))), "{error:?}");
    }
}
