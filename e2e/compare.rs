//! Compares JSON and says where two values differ, in terms a reader can act on.
//!
//! The order of object keys does not matter; everything else does.

use serde_json::Value;

/// A reply can differ everywhere; more lines than this help nobody.
const MAX_SHOWN: usize = 20;

/// One place at which two values differ.
#[derive(Debug)]
struct Difference {
    path: String,
    expected: String,
    got: String,
}

/// `None` if the values are equal, otherwise a readable list of the places where they are not.
pub(crate) fn describe_difference(expected: &Value, got: &Value) -> Option<String> {
    let mut found = Vec::new();
    collect("$", Some(expected), Some(got), &mut found);
    if found.is_empty() {
        return None;
    }
    let mut text = String::new();
    for difference in found.iter().take(MAX_SHOWN) {
        let Difference { path, expected, got } = difference;
        text.push_str(&format!("{path}\n    expected  {expected}\n    got       {got}\n"));
    }
    if found.len() > MAX_SHOWN {
        text.push_str(&format!("and {} more differences\n", found.len() - MAX_SHOWN));
    }
    Some(text)
}

fn collect(path: &str, expected: Option<&Value>, got: Option<&Value>, into: &mut Vec<Difference>) {
    match (expected, got) {
        (Some(Value::Object(expected)), Some(Value::Object(got))) => {
            let only_got = got.keys().filter(|key| !expected.contains_key(*key));
            for key in expected.keys().chain(only_got) {
                let path = format!("{path}{}", member(key));
                collect(&path, expected.get(key), got.get(key), into);
            }
        }
        (Some(Value::Array(expected)), Some(Value::Array(got))) => {
            for index in 0..expected.len().max(got.len()) {
                let path = format!("{path}[{index}]");
                collect(&path, expected.get(index), got.get(index), into);
            }
        }
        (expected, got) if expected == got => {}
        (expected, got) => into.push(Difference {
            path: path.to_owned(),
            expected: shown(expected),
            got: shown(got),
        }),
    }
}

/// `.name` where that is unambiguous, `["GET /a"]` elsewhere.
fn member(key: &str) -> String {
    match key.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
        true => format!(".{key}"),
        false => format!("[{}]", Value::from(key)),
    }
}

fn shown(value: Option<&Value>) -> String {
    let Some(value) = value else { return "nothing".to_owned() };
    let text = value.to_string();
    match text.char_indices().nth(200) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}
