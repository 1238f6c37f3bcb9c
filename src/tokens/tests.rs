//! The file, what a grant allows, and that no token is ever shown.

use std::path::PathBuf;

use super::*;
use crate::testing::SeededEntropy;

const ACME: &str = "acme-0123456789-0123456789";
const BOTH: &str = "both-0123456789-0123456789";
const EYES: &str = "eyes-0123456789-0123456789";

fn file() -> String {
    format!(
        r#"
        [[token]]
        token = "{ACME}"
        customers = ["acme"]
        format = "nginx"
        key = "derive"
        on_invalid = "skip"
        [[token]]
        token = "{BOTH}"
        customers = ["acme", "cus-2"]
        [[token]]
        token = "{EYES}"
        operator = true
        "#
    )
}

struct Written {
    _dir: tempfile::TempDir,
    path: PathBuf,
}

#[expect(clippy::disallowed_methods, reason = "writes what an operator writes")]
fn write(path: &Path, text: &str) {
    std::fs::write(path, text).expect("written");
}

fn written(text: &str) -> Written {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("tokens.toml");
    write(&path, text);
    Written { _dir: dir, path }
}

fn open(path: &Path, seed: u64) -> Result<Tokens, TokensError> {
    Tokens::open(path, Formats::default(), &SeededEntropy::seeded(seed))
}

fn customer(name: &str) -> CustomerId {
    CustomerId::new(name).expect("valid")
}

#[test]
fn a_file_says_what_each_token_allows() {
    let written = written(&file());
    let tokens = open(&written.path, 1).expect("a good file");
    assert_eq!(tokens.count(), 3);
    let acme = tokens.find(ACME).expect("known");
    assert_eq!((acme.customers.len(), acme.operator), (1, false));
    let defaults = SenderDefaults {
        format: Some("nginx".into()),
        key: Some(MissingKey::Derive),
        on_invalid: Some(OnInvalid::Skip),
    };
    assert_eq!(*acme.defaults, defaults);
    let both = tokens.find(BOTH).expect("known");
    assert_eq!((both.customers.len(), &*both.defaults), (2, &SenderDefaults::default()));
    let eyes = tokens.find(EYES).expect("known");
    assert_eq!((eyes.customers.len(), eyes.operator), (0, true));
}

/// T1: a grant is for its own customers; only an operator's reads others.
#[test]
fn a_grant_is_for_its_own_customers() {
    let of = |names: &[&str], operator| Grant {
        customers: names.iter().map(|name| customer(name)).collect(),
        operator,
        ..Grant::default()
    };
    use Access::{Read, Send};
    use Denied::{NotBound, Unnamed};
    let both = [Send, Read];
    for (grant, named, accesses, expected) in [
        (of(&["a"], false), Some("a"), &both[..], Ok("a")),
        (of(&["a"], false), None, &both, Ok("a")),
        (of(&["a"], false), Some("b"), &both, Err(NotBound)),
        (of(&["a"], false), Some("A"), &both, Err(NotBound)),
        (of(&["a", "b"], false), Some("b"), &both, Ok("b")),
        (of(&["a", "b"], false), None, &both, Err(Unnamed)),
        (of(&[], true), Some("a"), &both[1..], Ok("a")),
        (of(&[], true), None, &both[1..], Err(Unnamed)),
        (of(&[], true), Some("a"), &both[..1], Err(NotBound)),
        (of(&[], true), None, &both[..1], Err(NotBound)),
        (of(&["a"], true), Some("b"), &both[1..], Ok("b")),
        (of(&["a"], true), None, &both, Ok("a")),
        (of(&["a"], true), Some("b"), &both[..1], Err(NotBound)),
    ] {
        for access in accesses {
            let found = grant.customer(named.map(customer), *access);
            assert_eq!(found, expected.map(customer), "{access:?} {named:?} by {grant:?}");
        }
    }
}

/// Every mistake is named by its line, and none by the words that stand there.
#[test]
fn mistakes_are_told_by_line_and_never_quoted() {
    const SECRET: &str = "sesame-sesame-sesame-sesame";
    let token = format!("[[token]]\ntoken = \"{SECRET}\"\n");
    for (text, expected) in [
        (String::new(), "line 1: the file has no [[token]]"),
        ("token = []".into(), "line 1: the file has no [[token]]"),
        ("[[token]]\ncustomers = [\"a\"]".into(), "line 1: needs a token"),
        (format!("{token}x = 1\ncustomers = [\"a\"]"), "line 3: is an unknown key; known are"),
        (format!("{token}\"{SECRET}\" = [\"a\"]"), "line 3: is an unknown key; known are"),
        (token.clone(), "line 1: needs customers = [\"…\"], or operator = true"),
        (format!("{token}operator = false"), "line 1: needs customers"),
        (format!("{token}customers = []"), "line 3: customers must be a list of at least one"),
        (format!("{token}customers = \"{SECRET}\""), "line 3: customers must be a list"),
        (format!("{token}customers = [\"a\",\n1]"), "line 4: a customer must be text"),
        (format!("{token}customers = [\"a\",\n\"a\"]"), "line 4: names a customer twice"),
        (format!("{token}customers = [\"/{SECRET}\"]"), "line 3: a customer must begin with"),
        (
            format!("{token}customers = [\"a\"]\noperator = \"{SECRET}\""),
            "line 4: operator must be",
        ),
        (format!("{token}customers = [\"a\"]\nformat = 3"), "line 4: format must be one of"),
        (format!("{token}customers = [\"a\"]\nformat = \"\""), "line 4: format must be one of"),
        (
            format!("{token}customers = [\"a\"]\nkey = \"{SECRET}\""),
            "line 4: key must be \"reject\"",
        ),
        (
            format!("{token}customers = [\"a\"]\non_invalid = \"Skip\""),
            "line 4: on_invalid must be",
        ),
        (format!("{token}operator = true\nkey = \"derive\""), "line 1: has format, key or on_inv"),
        (format!("[token]\ntoken = \"{SECRET}\""), "line 1: must be a [[token]], in double"),
        (format!("token = [\"{SECRET}\"]"), "line 1: must be a [[token]], in double"),
        (format!("{SECRET} = 1"), "line 1: must be a [[token]], in double"),
        ("[[token]]\ntoken = 7\noperator = true".into(), "line 2: token must be text"),
        (
            "[[token]]\ntoken = \"sesame-sesame-sesam\"\noperator = true".into(),
            "line 2: token must have at least 20 visible",
        ),
        (
            "[[token]]\ntoken = \"sesame sesame sesame sesame\"\noperator = true".into(),
            "line 2: token must have at least 20 visible",
        ),
        (
            format!("{token}operator = true\n{token}customers = [\"a\"]"),
            "line 4: has the same token as the one in line 1",
        ),
        (format!("[[token]]\ntoken = {SECRET}"), "line 2: is not valid TOML"),
        (format!("[[token]]\ntoken = \"{SECRET}"), "line 2: is not valid TOML"),
        (format!("[[token]]\n{SECRET}"), "line 2: is not valid TOML"),
        (format!("{token}token = \"{SECRET}\""), "line 3: is not valid TOML: duplicate key"),
    ] {
        let written = written(&text);
        let error = open(&written.path, 1).expect_err("a bad file");
        let (shown, debugged) = (error.to_string(), format!("{error:?}"));
        assert!(shown.contains(expected), "{text}\n{expected}\n{shown}");
        assert!(shown.contains("tokens.toml"), "{shown}");
        assert!(!shown.contains("sesame") && !debugged.contains("sesame"), "{text}\n{debugged}");
    }
    let many = "[[token]]\n".repeat(100);
    let error = open(&written(&many).path, 1).expect_err("a bad file").to_string();
    assert!(error.lines().count() == 21 && error.contains("and 180 more mistakes"), "{error}");
}

#[test]
fn a_file_that_is_missing_or_too_large_is_refused_by_name() {
    let written = written(&"#".repeat(2 << 20));
    let error = open(&written.path, 1).expect_err("too large").to_string();
    assert!(error.contains("tokens.toml: larger than"), "{error}");
    let missing = written.path.with_extension("gone");
    assert!(matches!(open(&missing, 1), Err(TokensError::Read { .. })));
    let off = Tokens::configured(&Config::default(), &SeededEntropy::seeded(1));
    assert!(off.expect("nothing to read").is_none());
}

#[test]
fn a_bad_file_leaves_the_tokens_in_force() {
    let written = written(&file());
    let tokens = open(&written.path, 1).expect("a good file");
    for bad in ["", "[[token]]", "not TOML", "[[token]]\ntoken = \"short\"\noperator = true"] {
        write(&written.path, bad);
        tokens.reload().expect_err("a bad file");
        assert!(tokens.count() == 3 && tokens.find(ACME).is_some(), "{bad}");
    }
    write(&written.path, &file().replace(ACME, "acme-next-0123456789"));
    tokens.reload().expect("a good file");
    assert!(tokens.find(ACME).is_none() && tokens.find(BOTH).is_some());
    assert!(tokens.find("acme-next-0123456789").is_some());
}

/// Nothing that is near a token is near it where it is looked up.
#[test]
fn a_token_is_looked_up_by_a_keyed_hash_of_all_of_it() {
    let written = written(&file());
    let (tokens, others) = (open(&written.path, 1).expect("good"), open(&written.path, 2));
    let others = others.expect("good");
    let near = [&ACME[..ACME.len() - 1], &format!("{ACME}0"), &ACME.to_uppercase(), "", "acme"];
    for near in near {
        assert!(tokens.find(near).is_none(), "{near}");
        let (hash, of_token) = (hash(&tokens.key, near), hash(&tokens.key, ACME));
        assert_ne!(hash[..4], of_token[..4], "{near}");
    }
    assert_ne!(tokens.key, others.key);
    let table = tokens.table();
    assert!(table.keys().all(|hash| !others.table().contains_key(hash)));
    assert!(table.keys().all(|hash| *hash != *blake3::hash(ACME.as_bytes()).as_bytes()));
}

#[test]
fn no_token_is_ever_shown() {
    let written = written(&file());
    let tokens = open(&written.path, 1).expect("a good file");
    let shown = format!("{tokens:?} {tokens:#?} {:?}", tokens.find(ACME));
    assert!(shown.contains("tokens.toml") && shown.contains("count: 3"), "{shown}");
    for hidden in [ACME, BOTH, EYES, &format!("{:?}", tokens.key)] {
        assert!(!shown.contains(hidden), "{shown}");
    }
}

#[test]
fn a_file_that_everybody_reads_is_warned_of() {
    let written = written(&file());
    let tokens = open(&written.path, 1).expect("a good file");
    for (mode, warns) in [(0o600, false), (0o640, false), (0o604, true), (0o644, true)] {
        let permissions = std::fs::Permissions::from_mode(mode);
        std::fs::set_permissions(&written.path, permissions).expect("ours");
        assert_eq!(tokens.warning().is_some(), warns, "{mode:o}");
    }
    assert!(tokens.warning().expect("0644").contains("(mode 0644); chmod 600"));
}
