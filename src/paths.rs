//! Which paths count as one: what the user says of query strings and of paths that hold ids.
//!
//! Pure. The rules apply when a batch is summed up; what is acknowledged was counted by them and
//! stays so. Each journal segment says by which rules its batches were ([`PathRules::id`]).

use std::fmt;

use matchit::Router;
use xxhash_rust::xxh3::Xxh3Default;

/// How paths are made the names they are counted under.
#[derive(Clone, Default)]
pub struct PathRules {
    strips_query: bool,
    /// Each template as the user wrote it.
    templates: Option<Router<Box<str>>>,
    id: u64,
}

/// A template that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{template:?} {reason}")]
pub struct InvalidTemplate {
    /// As the user wrote it.
    pub template: String,
    /// What is wrong with it.
    pub reason: String,
}

impl PathRules {
    /// Rules by what was configured: whether query strings are taken off, and templates such as
    /// `/users/:id` or `/static/*`. A path counts as the most literal one that it fits, without its
    /// query string.
    ///
    /// # Errors
    /// A template that is none, or that fits the same paths as another.
    pub fn new<'t>(
        strips_query: bool,
        templates: impl IntoIterator<Item = &'t str>,
    ) -> Result<Self, InvalidTemplate> {
        let mut router = Router::new();
        let mut digest = Xxh3Default::new();
        digest.update(&[u8::from(strips_query)]);
        let mut is_empty = true;
        for template in templates {
            insert(&mut router, template)
                .map_err(|reason| InvalidTemplate { template: template.into(), reason })?;
            digest.update(&(template.len() as u64).to_le_bytes());
            digest.update(template.as_bytes());
            is_empty = false;
        }
        let templates = (!is_empty).then_some(router);
        let is_default = !strips_query && templates.is_none();
        let id = if is_default { 0 } else { digest.digest() };
        Ok(Self { strips_query, templates, id })
    }

    /// Tells these rules from others; 0 where paths count as they are.
    #[must_use]
    pub fn id(&self) -> u64 {
        self.id
    }

    /// What a path counts as.
    #[inline]
    #[must_use]
    pub fn apply<'a>(&'a self, path: &'a str) -> &'a str {
        if self.id == 0 { path } else { self.replace(path) }
    }

    fn replace<'a>(&'a self, path: &'a str) -> &'a str {
        let plain = match path.split_once('?') {
            // What has no path but a query is left as it is.
            Some(("", _)) => return path,
            Some((plain, _)) => plain,
            None => path,
        };
        let found = self.templates.as_ref().and_then(|templates| templates.at(plain).ok());
        match found {
            // Without the query: names must not grow, or a small body could become a large summary.
            Some(found) => found.value,
            None if self.strips_query => plain,
            None => path,
        }
    }
}

/// Adds a template in the router's own way of writing: `{id}` for `:id`, `{*rest}` for `*`.
fn insert(router: &mut Router<Box<str>>, template: &str) -> Result<(), String> {
    let Some(inner) = template.strip_prefix('/') else {
        return Err("must begin with /".into());
    };
    if template.contains(['?', '#']) || template.contains(|c: char| c.is_ascii_control()) {
        return Err("is of paths alone, without a query string".into());
    }
    let mut route = String::new();
    let mut segments = inner.split('/').enumerate().peekable();
    while let Some((at, segment)) = segments.next() {
        route.push('/');
        match segment.strip_prefix(':') {
            Some("") => return Err("has a : without a name".into()),
            // Numbers instead of names: two templates may call the same place differently.
            Some(_) => route.push_str(&format!("{{p{at}}}")),
            None if segment == "*" && segments.peek().is_none() => route.push_str("{*rest}"),
            None if segment == "*" => return Err("may have * as its last part only".into()),
            None => route.push_str(&segment.replace('{', "{{").replace('}', "}}")),
        }
    }
    router.insert(route, template.into()).map_err(|error| match error {
        matchit::InsertError::Conflict { .. } => "fits the same paths as another template".into(),
        other => other.to_string(),
    })
}

impl fmt::Debug for PathRules {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PathRules")
            .field("strips_query", &self.strips_query)
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(strips_query: bool, templates: &[&str]) -> PathRules {
        PathRules::new(strips_query, templates.iter().copied()).expect("valid")
    }

    #[test]
    fn paths_count_as_they_are_unless_the_user_says_more() {
        let rules = PathRules::default();
        for path in ["/", "/users/7?x=1", "*", "http://a/b?c", "?", "-"] {
            assert_eq!(rules.apply(path), path);
        }
        assert_eq!(rules.id(), PathRules::new(false, []).expect("valid").id());
    }

    #[test]
    fn a_path_counts_as_the_most_literal_template_that_it_fits() {
        let templates =
            ["/users/:id", "/users/me", "/users/:user/orders/:order", "/static/*", "/a{b}/:c"];
        let (kept, stripped) = (rules(false, &templates), rules(true, &templates));
        for (path, expected) in [
            ("/users/7", "/users/:id"),
            ("/users/7/", "/users/7/"),
            ("/users/7/orders/9", "/users/:user/orders/:order"),
            ("/users", "/users"),
            ("/static/css/a.css", "/static/*"),
            ("/static/", "/static/"),
            ("/a{b}/c", "/a{b}/:c"),
            ("/axb/c", "/axb/c"),
            ("*", "*"),
            ("-", "-"),
            ("http://host/users/7", "http://host/users/7"),
        ] {
            assert_eq!(kept.apply(path), expected);
            assert_eq!(stripped.apply(path), expected);
            let query = format!("{path}?page=2&x=/users/1?");
            assert_eq!(kept.apply(&query), if path == expected { &query } else { expected });
            assert_eq!(stripped.apply(&query), expected);
        }
        assert_eq!(stripped.apply("?x=1"), "?x=1");
        // Literal parts win, and a template that is all literal takes queries off as well.
        assert_eq!(kept.apply("/users/me?x=1"), "/users/me");
    }

    #[test]
    fn rules_that_differ_have_other_ids() {
        let ids = [
            rules(false, &[]).id(),
            rules(true, &[]).id(),
            rules(false, &["/a/:b"]).id(),
            rules(true, &["/a/:b"]).id(),
            rules(false, &["/a/:b", "/c/:d"]).id(),
        ];
        for (at, id) in ids.iter().enumerate() {
            assert!(!ids[..at].contains(id));
        }
    }

    #[test]
    fn what_is_no_template_is_refused() {
        let refused = |templates: &[&str]| {
            PathRules::new(false, templates.iter().copied()).expect_err("no template").to_string()
        };
        assert_eq!(refused(&["users/:id"]), r#""users/:id" must begin with /"#);
        assert_eq!(refused(&["/users/:"]), r#""/users/:" has a : without a name"#);
        assert!(refused(&["/a/*/b"]).ends_with("last part only"));
        assert!(refused(&["/a?b=:c"]).contains("without a query string"));
        let twice = refused(&["/users/:id", "/users/:name"]);
        assert_eq!(twice, r#""/users/:name" fits the same paths as another template"#);
    }
}
