//! Text for a terminal: clean, aligned, as wide as there is room, coloured where that is wanted.

use std::borrow::Cow;

use console::{Style, measure_text_width, truncate_str};

/// Columns where there is no terminal to say how many.
const COLUMNS_PIPED: usize = 100;
const COLUMNS_MIN: usize = 40;

/// Where something is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Screen {
    /// A person looks at it, and names must not steer it.
    pub is_terminal: bool,
    /// Escape codes are wanted: colours, and lines that are written anew.
    pub is_coloured: bool,
    /// Room in a line.
    pub columns: usize,
}

impl Screen {
    /// What stdout is. Colours are for terminals alone, and not where `NO_COLOR` or a `TERM` that
    /// knows none forbids them.
    #[must_use]
    pub fn of_stdout() -> Self {
        let term = console::Term::stdout();
        let is_terminal = term.is_term();
        let width = term.size_checked().filter(|_| is_terminal).map(|(_, columns)| columns.into());
        Self {
            is_terminal,
            is_coloured: is_terminal && term.features().colors_supported(),
            columns: width.unwrap_or(COLUMNS_PIPED).max(COLUMNS_MIN),
        }
    }

    pub(super) fn bold(self, text: &str) -> String {
        self.paint(Style::new().bold(), text)
    }

    pub(super) fn dim(self, text: &str) -> String {
        self.paint(Style::new().dim(), text)
    }

    /// What is drawn: bars and lines.
    pub(super) fn drawn(self, text: &str) -> String {
        self.paint(Style::new().cyan(), text)
    }

    /// What asks to be looked at.
    pub(super) fn striking(self, text: &str) -> String {
        self.paint(Style::new().yellow(), text)
    }

    fn paint(self, style: Style, text: &str) -> String {
        style.force_styling(self.is_coloured).apply_to(text).to_string()
    }
}

/// The text with its control characters spelt out, so that it stays in its line and steers nothing:
/// neither a terminal nor, by turning the direction of writing, the eye.
pub(super) fn clean(text: &str) -> String {
    text.chars().fold(String::with_capacity(text.len()), |mut clean, c| {
        if is_steering(c) {
            clean.extend(c.escape_default());
        } else {
            clean.push(c);
        }
        clean
    })
}

/// Whether a character does something instead of being seen.
pub(super) fn is_steering(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}')
        || c == '\u{feff}'
}

/// Clean, and no wider than that.
pub(super) fn cell(text: &str, columns: usize) -> String {
    truncate_str(&clean(text), columns, "…").into_owned()
}

/// Filled up with spaces behind it; escape codes take no room.
pub(super) fn left(text: &str, columns: usize) -> String {
    console::pad_str(text, columns, console::Alignment::Left, None).into_owned()
}

/// Filled up with spaces before it.
pub(super) fn right(text: &str, columns: usize) -> String {
    console::pad_str(text, columns, console::Alignment::Right, None).into_owned()
}

pub(super) fn width(text: &str) -> usize {
    measure_text_width(text)
}

/// In groups of three digits.
pub(super) fn number(n: u64) -> String {
    indicatif::HumanCount(n).to_string()
}

/// A part of the whole, as `12.5 %`.
pub(super) fn percent(part: u64, whole: u64) -> String {
    match per_mille(part, whole) {
        Some(0) if part > 0 => "<0.1 %".to_owned(),
        Some(n) => format!("{}.{} %", n / 10, n % 10),
        None => String::new(),
    }
}

/// How much more or less than before, as `+12.5 %`; `new` if there was nothing before.
pub(super) fn change(before: u64, now: u64) -> Cow<'static, str> {
    let sign = if now < before { '-' } else { '+' };
    match per_mille(now.abs_diff(before), before) {
        None if now > 0 => "new".into(),
        None | Some(0) => "=".into(),
        Some(n @ ..10_000) => format!("{sign}{}.{} %", n / 10, n % 10).into(),
        Some(n) => format!("{sign}{} %", number(n / 10)).into(),
    }
}

/// Rounded to the nearest; of nothing there is no part.
fn per_mille(part: u64, whole: u64) -> Option<u64> {
    let (part, whole) = (u128::from(part) * 1_000, u128::from(whole));
    let rounded = (part + whole / 2).checked_div(whole)?;
    Some(u64::try_from(rounded).unwrap_or(u64::MAX))
}

/// A time of the server without its seconds, which are 0: `2026-11-26T18:03Z`.
pub(super) fn minute(time: &str) -> String {
    clean(&match time.get(16..19) {
        Some(":00") => format!("{}{}", &time[..16], &time[19..]),
        _ => time.to_owned(),
    })
}
