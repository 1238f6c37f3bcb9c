//! The quick reader takes the usual, and nothing that serde_json would take differently.

use proptest::prelude::*;

use super::super::RawEntry;
use super::*;

type Read = Vec<[String; 4]>;

fn owned(fields: &Fields<'_>) -> [String; 4] {
    [&fields.received_at, &fields.method, &fields.path, &fields.user_agent]
        .map(|field| field.clone().into_owned())
}

fn quickly(body: &str) -> Option<Read> {
    let mut read = Read::new();
    scan(body, |fields, _| {
        read.push(owned(fields));
        Some(())
    })?;
    Some(read)
}

fn slowly(body: &str) -> Option<Read> {
    let entries: Vec<RawEntry<'_>> = serde_json::from_str(body).ok()?;
    Some(entries.iter().map(|RawEntry(fields)| owned(fields)).collect())
}

const ENTRY: &str =
    r#"{"receivedAt":"2025-12-28T18:03:00Z","method":"GET","path":"/a","userAgent":"x"}"#;

/// If it gave up at these, all would be right and slow.
#[test]
fn the_usual_is_read_quickly() {
    let pretty =
        ENTRY.replace(',', ",\n\t").replace(':', " : ").replace("18 : 03 : 00", "18:03:00");
    for body in [
        format!("[{ENTRY}]"),
        format!(" [ {ENTRY} ,\r\n{pretty}\n]\n"),
        format!("[{}]", ENTRY.replace("/a", r#"/\u0061\n\"é/ü/😀"#)),
        format!("[{}]", ENTRY.replace("method", r"m\u0065thod")),
        format!("[{}]", ENTRY.replace('}', r#","status":200,"bytes":1.50,"tls":true,"x":null}"#)),
        format!("[{}]", ENTRY.replace('{', r#"{"referer":"a\tb","":"","n":0,"#)),
    ] {
        assert!(slowly(&body).is_some(), "{body}");
        assert_eq!(quickly(&body), slowly(&body), "{body}");
    }
}

#[test]
fn what_is_odd_is_left_to_serde_json() {
    let with = |what: &str| format!("[{}]", ENTRY.replace('}', &format!(",{what}}}")));
    for body in [
        String::new(),
        "[]".into(),
        ENTRY.into(),
        format!("[{ENTRY},]"),
        format!("[{ENTRY}]]"),
        format!("[{ENTRY}"),
        format!("[{ENTRY} {ENTRY}]"),
        with(r#""path":"/b""#),
        with(r#""x":01"#),
        with(r#""x":1."#),
        with(r#""x":.5"#),
        with(r#""x":nul"#),
        with(r#""x":1x"#),
        with(r#""x":"#),
        with(r#""x":{"y":1}"#),
        with(r#""x":"\q""#),
        with(""),
        format!("[{}]", ENTRY.replace("/a", "/a\n")),
        format!("[{}]", ENTRY.replace("/a", "/a\\")),
        format!("[{}]", ENTRY.replace("\"/a\"", "7")),
        format!("[{}]", ENTRY.replace("path", "pat")),
        format!("[{}]", ENTRY.replace(':', "\u{a0}:")),
    ] {
        assert_eq!(quickly(&body), None, "{body}");
    }
}

/// What is put somewhere into a body.
const PIECES: [&str; 20] = [
    ",",
    ":",
    "}",
    "{",
    "]",
    " ",
    "\n",
    "\"",
    "\\",
    "\u{7f}",
    "\u{1}",
    r#","x":1"#,
    r#","x":-0.5e1"#,
    r#","x":[]"#,
    r#","path":"/b""#,
    r#""x":true,"#,
    r#""x":"\ud800","#,
    r"\u0041",
    r"\q",
    "é",
];

/// A body of some entries whose fields stand in some order.
fn body() -> impl Strategy<Value = String> {
    let fields = [
        r#""receivedAt":"2025-12-28T18:03:00Z""#,
        r#""method":"GET""#,
        r#""path" : "/a""#,
        r#""userAgent":"x\ty""#,
    ];
    let entry = Just(fields.to_vec()).prop_shuffle();
    prop::collection::vec(entry, 1..4).prop_map(|entries| {
        let entries: Vec<_> =
            entries.iter().map(|fields| format!("{{{}}}", fields.join(","))).collect();
        format!("[{}]", entries.join(", "))
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4_096))]

    /// With pieces put in anywhere: what is read quickly is read so by serde_json, too.
    #[test]
    fn nothing_is_read_differently(
        body in body(),
        pieces in prop::collection::vec((any::<prop::sample::Index>(), 0..PIECES.len()), 0..3),
    ) {
        let mut body = body;
        for (at, piece) in &pieces {
            // Mostly where a member ends: there it may be right.
            let ends: Vec<_> =
                body.match_indices(['"', '{', '}', ',']).map(|(at, _)| at + 1).collect();
            body.insert_str(ends[at.index(ends.len())], PIECES[*piece]);
        }
        let read = quickly(&body);
        prop_assert!(!pieces.is_empty() || read.is_some(), "{}", body);
        if read.is_some() {
            prop_assert_eq!(read, slowly(&body), "{}", body);
        }
    }

    /// One change to a valid body.
    #[test]
    fn a_changed_byte_is_judged_alike(at in 0_usize..200, byte in 0_u8..128) {
        let mut body = format!("[{ENTRY},{ENTRY}]").into_bytes();
        let at = at % body.len();
        body[at] = byte;
        let body = String::from_utf8(body).expect("ASCII");
        if let Some(read) = quickly(&body) {
            prop_assert_eq!(Some(read), slowly(&body), "{}", body);
        }
    }
}
