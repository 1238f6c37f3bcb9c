//! Family of a user agent: the name that a person would use for the program that sent a request.
//!
//! Owns the rule ([`family`]), the bounded memory of its answers ([`AgentCache`]), and what kind of
//! sender a family is ([`kind()`]). The rule is a pure function of the string: no clock, no I/O, no
//! configuration, so a replay names every request as the first run did. It must never panic,
//! whatever the bytes, and never look at anything else.
//!
//! The rule, first match wins:
//!
//! 1. An empty agent, or `-`, is [`NONE`].
//! 2. A program of `table::DECLARED` named anywhere outside a URL or mail address. A crawler often
//!    claims to be Chrome or Safari as well; no browser claims to be a crawler.
//! 3. `woothee`'s name of a crawler, but for "misc crawler", respelt by `table::RESPELT`.
//! 4. A crawler that names itself as `compatible; SomeBot/1.0` and stands in no table.
//! 5. `woothee`'s name of a browser, put right where it names the wrong one.
//! 6. The product: the first RFC 9110 product token, at most 64 bytes of it,
//!    spelt as in `table::PRODUCTS` where it stands there. `Mozilla` says nothing, so the rest is
//!    asked first: a known library, `MSIE`, the name after `compatible;`, a word that ends in "bot"
//!    or the like, a product that is no browser engine. A bare `Mozilla/5.0 (…)` that says no more
//!    than that is `Mozilla`, the one thing known.
//! 7. [`NONE`]: something was sent, but it does not begin with a product.

mod cache;
mod kind;
mod table;
#[cfg(test)]
mod tests;

use std::borrow::Cow;

use crate::limits;
use woothee::parser::Parser;

pub use cache::AgentCache;
pub use kind::{Kind, kind};

/// The family of requests that say nothing about their sender.
pub const NONE: &str = "(none)";

/// The family of `agent`, computed anew; [`AgentCache`] remembers it.
#[must_use]
pub fn family(agent: &str) -> Cow<'_, str> {
    let agent = agent.trim();
    if agent.is_empty() || agent == "-" {
        return Cow::Borrowed(NONE);
    }
    Cow::Borrowed(name(agent))
}

fn name(agent: &str) -> &str {
    if let Some(name) = table::declared(words(agent)) {
        return name;
    }
    let known = woothee_name(agent);
    if let Some(Known { name, crawler: true }) = known {
        return name;
    }
    if let Some(bot) = compatible(agent).find(|name| is_crawler_name(name)) {
        return bot;
    }
    match known {
        Some(known) => put_right(agent, known.name),
        None => product(agent).unwrap_or(NONE),
    }
}

/// A name that woothee knows, as a person would spell it.
struct Known<'a> {
    name: &'a str,
    crawler: bool,
}

/// Woothee's name, unless it is one of its collective names ("HTTP Library", "misc crawler", …).
fn woothee_name(agent: &str) -> Option<Known<'_>> {
    let result = Parser::new().parse(agent)?;
    if table::COLLECTIVE.contains(&result.name) {
        return None;
    }
    let respelt = table::RESPELT.iter().find(|(woothee, _)| *woothee == result.name);
    let name = respelt.map_or(result.name, |(_, name)| name);
    Some(Known { name, crawler: result.category == "crawler" })
}

/// Corrects the names of browsers that woothee takes for the one whose engine they use.
fn put_right<'a>(agent: &str, name: &'a str) -> &'a str {
    if name.starts_with("Xbox") {
        // Woothee lets the console's name replace the browser's.
        return if agent.contains("Edg") { "Edge" } else { "Internet Explorer" };
    }
    if !matches!(name, "Chrome" | "Safari" | "Firefox" | "Webview") {
        return name;
    }
    if let Some(browser) = table::browser(words(agent)) {
        return browser;
    }
    match name {
        // Woothee takes the letters "wv" anywhere in a Chrome agent for a web view.
        "Webview" if !agent.contains("Chrome") => "iOS WebView",
        "Webview" if agent.contains("; wv") => "Android WebView",
        "Webview" => "Chrome",
        "Safari" if agent.contains("BB10") || agent.contains("BlackBerry") => "BlackBerry",
        "Safari" if agent.contains("Android") => "Android Browser",
        _ => name,
    }
}

/// The product that the agent names itself, see rule 6.
fn product(agent: &str) -> Option<&str> {
    if let Some(name) = table::prefix(agent) {
        return Some(name);
    }
    let first = token(agent.trim_start_matches(['"', '\'', ' ']));
    match first {
        Some(first) if !table::says_nothing(first) => {
            Some(table::product(first).unwrap_or_else(|| cut(first)))
        }
        _ => words(agent)
            .find_map(table::product)
            .or_else(|| agent.contains("MSIE ").then_some("Internet Explorer"))
            .or_else(|| compatible(agent).find(|name| !table::is_platform(name)).map(cut))
            .or_else(|| words(agent).find(|word| is_crawler_name(word)).and_then(token))
            .or_else(|| later_product(agent))
            .or(first),
    }
}

/// A product after the first, outside comments, that is not part of a browser engine.
fn later_product(agent: &str) -> Option<&str> {
    let mut depth = 0_usize;
    agent.split_inclusive([' ', '(', ')']).skip(1).find_map(|part| {
        let outside = depth == 0;
        match part.as_bytes().last() {
            Some(b'(') => depth += 1,
            Some(b')') => depth = depth.saturating_sub(1),
            _ => {}
        }
        let (name, _version) = part.split_once('/')?;
        let whole = outside && token(name) == Some(name);
        (whole && !table::is_engine(name))
            .then(|| table::product(name).unwrap_or_else(|| cut(name)))
    })
}

/// The names in comments after `compatible;`: `Konqueror` in `(compatible; Konqueror/3.5; Linux)`.
fn compatible(agent: &str) -> impl Iterator<Item = &str> {
    const MARK: &str = "compatible;";
    let comments = agent.match_indices(MARK).map(move |(at, _)| &agent[at + MARK.len()..]);
    comments
        .flat_map(|rest| rest.split(')').next().unwrap_or_default().split(';'))
        .filter_map(|element| token(element.trim_start()))
}

fn is_crawler_name(name: &str) -> bool {
    let lower = name.to_ascii_lowercase();
    name.len() <= limits::AGENT_PRODUCT_BYTES_MAX
        && ["bot", "spider", "crawler"].iter().any(|kind| lower.contains(kind))
}

/// The RFC 9110 token at the start of `text`; it must hold a letter or a digit to be a name.
fn token(text: &str) -> Option<&str> {
    let is_token = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
    let end = text.find(|c| !is_token(c)).unwrap_or(text.len());
    let token = &text[..end];
    token.contains(|c: char| c.is_ascii_alphanumeric()).then_some(token)
}

/// Cuts a token, which is ASCII, to the longest name that counts.
fn cut(token: &str) -> &str {
    &token[..token.len().min(limits::AGENT_PRODUCT_BYTES_MAX)]
}

/// The words of an agent without their versions; web and mail addresses are left out, because
/// `+https://example.com/curl` does not mean curl.
fn words(agent: &str) -> impl Iterator<Item = &str> {
    let separates = |c: char| c.is_whitespace() || "()[]{}<>;,\"'".contains(c);
    agent
        .split(separates)
        .map(|word| word.trim_start_matches('+'))
        .filter(|word| !word.contains("://") && !word.contains('@') && !word.starts_with("www."))
        .map(|word| word.split('/').next().unwrap_or_default())
        .filter(|word| !word.is_empty())
}
