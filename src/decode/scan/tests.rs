//! The quick reader takes the usual, and nothing that serde_json would take differently.

use proptest::prelude::*;

use super::super::format::{Format, Formats};
use super::super::{OnInvalid, records};
use super::*;
use crate::paths::PathRules;
use crate::user_agent::AgentCache;

/// The bytes of the summary that a reading comes to, if it takes the body.
fn read_by(read: impl FnOnce(&mut Summariser<'_>) -> Option<()>) -> Option<Vec<u8>> {
    let (mut agents, paths) = (AgentCache::new(), PathRules::default());
    let mut sum = Summariser::new(&mut agents, &paths, 0);
    read(&mut sum)?;
    Some(sum.finish().to_bytes())
}

fn quickly_as(framing: Framing, body: &str) -> Option<Vec<u8>> {
    read_by(|sum| scan(framing, body.as_bytes(), sum))
}

fn slowly_as(framing: Framing, body: &str) -> Option<Vec<u8>> {
    let format = Format { framing, fields: Formats::default().own().clone() };
    read_by(|sum| records::read(&format, body.as_bytes(), OnInvalid::Reject, sum).ok().map(drop))
}

fn quickly(body: &str) -> Option<Vec<u8>> {
    quickly_as(Framing::Json, body)
}

fn slowly(body: &str) -> Option<Vec<u8>> {
    slowly_as(Framing::Json, body)
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
        format!("[{}]", ENTRY.replace("/a", r#"/\u0061\\\"é/ü/😀"#)),
        format!("[{}]", ENTRY.replace("method", r"m\u0065thod")),
        format!("[{}]", ENTRY.replace('}', r#","status":200,"took":1.50,"tls":true,"x":null}"#)),
        format!("[{}]", ENTRY.replace('{', r#"{"referer":"a\tb","":"","n":0,"#)),
        format!("[{}]", ENTRY.replace('{', r#"{"bytes": 0 ,"st\u0061tus" :404,"#)),
        ENTRY.into(),
        format!("\n{pretty}\n"),
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
        format!("{ENTRY}{ENTRY}"),
        format!("[{ENTRY},]"),
        format!("[{ENTRY}]]"),
        format!("[{ENTRY}"),
        format!("[{ENTRY} {ENTRY}]"),
        with(r#""path":"/b""#),
        with(r#""status":20.0"#),
        with(r#""status":1000"#),
        with(r#""status":200,"status":200"#),
        with(r#""bytes":-1"#),
        with(r#""bytes":01"#),
        with(r#""bytes":null"#),
        with(r#""bytes":"1""#),
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

/// A line is an entry, whatever its end; what goes over lines is for serde_json.
#[test]
fn lines_are_read_quickly() {
    for body in [
        format!("{ENTRY}\n{ENTRY}"),
        format!("\n{ENTRY}\r\n\n {ENTRY} \n"),
        ENTRY.replace('}', r#","status":304,"bytes":7}"#),
    ] {
        let quickly = quickly_as(Framing::Lines, &body);
        assert!(quickly.is_some() && quickly == slowly_as(Framing::Lines, &body), "{body}");
    }
    for body in [
        ENTRY.replace(',', ",\n"),
        format!("{ENTRY}{ENTRY}"),
        format!("{ENTRY},\n{ENTRY}"),
        format!("[{ENTRY}]"),
        ENTRY.replace("/a", "/a\n"),
    ] {
        assert_eq!(quickly_as(Framing::Lines, &body), None, "{body}");
    }
}

/// What is put somewhere into a body.
const PIECES: [&str; 24] = [
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
    r#","status":200"#,
    r#""bytes":12,"#,
    r#","bytes":1e3"#,
    "0",
    r#","path":"/b""#,
    r#""x":true,"#,
    r#""x":"\ud800","#,
    r"\u0041",
    r"\q",
    "é",
];

/// A body of some entries whose fields stand in some order: all in the same, or each in its own.
fn body() -> impl Strategy<Value = String> {
    let fields = [
        r#""receivedAt":"2025-12-28T18:03:00Z""#,
        r#""method":"GET""#,
        r#""path" : "/a""#,
        r#""userAgent":"x\u0041y""#,
    ];
    let numbered = [r#""bytes":0"#, r#""status":200"#];
    let entry = (Just(fields.to_vec()), 0..=numbered.len()).prop_flat_map(move |(all, more)| {
        Just([&all[..], &numbered[..more]].concat()).prop_shuffle()
    });
    let agents = prop::sample::select(vec![r"x\u0041y", "xAy"]);
    (prop::collection::vec(entry, 1..5), any::<bool>(), agents).prop_map(
        |(entries, are_alike, agent)| {
            let orders = entries.iter().map(|own| if are_alike { &entries[0] } else { own });
            let entries: Vec<_> =
                orders.map(|fields| format!("{{{}}}", fields.join(","))).collect();
            format!("[{}]", entries.join(", ")).replace(r"x\u0041y", agent)
        },
    )
}

/// What the whole of a body is for: entries that are written alike are read along their layout.
#[test]
fn entries_written_alike_are_read_along_their_layout() {
    let spaced = ENTRY.replace(",", ", ").replace("\":", "\": ");
    for entry in [ENTRY, &spaced, &ENTRY.replace('}', r#","status":200,"bytes":1234}"#)] {
        let mut scanner = Scanner::new(entry, false);
        let read = read_by(|sum| {
            let mut sink = Sink { sum, times: MinuteMemo::default(), layout: Layout::default() };
            assert_eq!(scanner.entry_as_before(&mut sink), None, "nothing is known yet");
            scanner.any_entry(&mut sink)?;
            scanner.at = 0;
            scanner.entry_as_before(&mut sink)
        });
        assert_eq!(scanner.at, entry.len());
        assert_eq!(read, slowly(&format!("[{entry}, {entry}]")), "{entry}");
    }
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
        let lines = body.trim_start_matches('[').trim_end_matches(']').replace("}, ", "}\n");
        let read = quickly_as(Framing::Lines, &lines);
        prop_assert!(!pieces.is_empty() || read.is_some(), "{}", lines);
        if read.is_some() {
            prop_assert_eq!(read, slowly_as(Framing::Lines, &lines), "{}", lines);
        }
    }

    /// One change to a valid body.
    #[test]
    fn a_changed_byte_is_judged_alike(at in 0_usize..300, byte in 0_u8..128) {
        let entry = ENTRY.replace("18:03:00Z", "18:03:00.5Z");
        let entry = entry.replace('}', r#","status":200,"bytes":1234}"#);
        let mut body = format!("[{entry},{entry}]").into_bytes();
        let at = at % body.len();
        body[at] = byte;
        let body = String::from_utf8(body).expect("ASCII");
        if let Some(read) = quickly(&body) {
            prop_assert_eq!(Some(read), slowly(&body), "{}", body);
        }
    }
}
