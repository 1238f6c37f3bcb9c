//! The same entries in every format come to the same counts; invalid ones are refused or put aside.

use super::*;
use crate::entry::Field;

fn format(name: &str, framing: Framing) -> Format {
    Format { framing, fields: Formats::default().get(name).expect("known").clone() }
}

fn decoded(format: &Format, body: &[u8], on_invalid: OnInvalid) -> Result<Decoded, DecodeError> {
    let rules = Rules { on_invalid, paths: &PathRules::default() };
    decode(format, body, rules, &mut AgentCache::new())
}

/// Windows as text, whatever the order of names.
fn counts(summary: &Summary) -> Vec<String> {
    let names = |counts: &[(crate::names::NameId, u32)]| {
        let mut named: Vec<_> =
            counts.iter().map(|(id, n)| format!("{} {n}", summary.names.get(*id))).collect();
        named.sort_unstable();
        named.join(", ")
    };
    let window = |window: &crate::insight::PartialInsight| {
        let responses = &window.responses;
        let statuses: Vec<_> = responses.statuses().collect();
        format!(
            "{} {} | {} | {} | {statuses:?} {:?}",
            window.minute,
            window.requests,
            names(&window.paths),
            names(&window.agents),
            responses.bytes()
        )
    };
    summary.windows.iter().map(window).collect()
}

/// An entry in each of the formats that carry all of it.
type Line = (&'static str, u64, &'static str, &'static str, &'static str, u16, u64);

const LINES: [Line; 5] = [
    ("2026-01-01T00:00:07", 1_767_225_607, "GET", "/", "curl/8.5.0", 200, 512),
    ("2026-01-01T00:00:59", 1_767_225_659, "POST", "/search?q=1", "Wget/1.21", 404, 0),
    ("2026-01-01T00:01:00", 1_767_225_660, "GET", "/", "curl/8.5.0", 200, 9),
    ("2026-01-01T00:00:30", 1_767_225_630, "get", "/a,b", "", 301, 1),
    ("2026-01-01T00:00:31", 1_767_225_631, "GET", "/", "curl/8.5.0", 200, 0),
];

fn written(name: &str) -> Vec<String> {
    let write = |(time, epoch, method, path, agent, status, bytes): Line| match name {
        "logmill" => format!(
            r#"{{"receivedAt":"{time}Z","method":"{method}","path":"{path}","userAgent":"{agent}","status":{status},"bytes":{bytes}}}"#
        ),
        "nginx" => format!(
            r#"{{"time_iso8601":"{time}+00:00","request_method":"{method}","request_uri":"{path}","http_user_agent":"{agent}","status":"{status}","body_bytes_sent":{bytes}}}"#
        ),
        "caddy" => format!(
            r#"{{"ts":{epoch}.25,"request":{{"method":"{method}","uri":"{path}","headers":{{"User-Agent":["{agent}"]}}}},"size":{bytes},"status":{status}}}"#
        ),
        "envoy" => format!(
            r#"{{"start_time":"{time}.5Z","method":"{method}","path":"{path}","user_agent":"{agent}","response_code":{status},"bytes_sent":{bytes}}}"#
        ),
        "apache" => format!(
            r#"{{"time":"{time}+0000","method":"{method}","uri":"{path}","userAgent":"{agent}","status":"{status}","bytes":"{bytes}"}}"#
        ),
        "csv" => format!("{time}Z,{method},\"{path}\",{agent},{status},{bytes}"),
        _ => {
            let time = jiff::Timestamp::from_second(epoch.cast_signed()).expect("a moment");
            let time = time.strftime("%d/%b/%Y:%H:%M:%S +0000");
            format!(r#"h - - [{time}] "{method} {path} HTTP/1.1" {status} {bytes} "-" "{agent}""#)
        }
    };
    LINES.iter().copied().map(write).collect()
}

#[test]
fn every_format_comes_to_the_same_counts() {
    let own = written("logmill");
    let expected = summarise(
        &Format::default(),
        format!("[{}]", own.join(",")).as_bytes(),
        &mut AgentCache::new(),
    );
    let expected = counts(&expected.expect("valid"));
    assert_eq!(expected[0].split(" | ").next(), Some("2026-01-01T00:00:00Z 4"));
    let as_it_looks = Framing::Csv(CsvHeader::AsItLooks);
    let header = "receivedAt,method,path,userAgent,status,bytes\r\n";
    let shuffled = "Bytes, x ,path,status,userAgent,METHOD,receivedAt";
    let swapped: Vec<_> = LINES
        .iter()
        .map(|(time, _, method, path, agent, status, bytes)| {
            format!("{bytes},,\"{path}\",{status},{agent},{method},{time}Z")
        })
        .collect();
    for name in ["logmill", "nginx", "caddy", "envoy", "apache"] {
        for (framing, body) in [
            (Framing::Json, format!("[{}]", written(name).join(" , "))),
            (Framing::Json, written(name).join("\n")),
            (Framing::Lines, written(name).join("\r\n\n")),
        ] {
            let decoded = decoded(&format(name, framing), body.as_bytes(), OnInvalid::Reject);
            assert_eq!(counts(&decoded.expect(name).summary), expected, "{name} {framing:?}");
        }
    }
    for (name, framing, body) in [
        ("combined", Framing::Lines, written("combined").join("\n")),
        ("logmill", as_it_looks, written("csv").join("\n")),
        ("logmill", Framing::Csv(CsvHeader::Absent), written("csv").join("\r\n")),
        ("logmill", as_it_looks, format!("{header}{}", written("csv").join("\n"))),
        ("logmill", as_it_looks, format!("\u{feff}{header}{}", written("csv").join("\n"))),
        (
            "logmill",
            Framing::Csv(CsvHeader::Present),
            format!("{shuffled}\n{}", swapped.join("\n")),
        ),
    ] {
        let decoded = decoded(&format(name, framing), body.as_bytes(), OnInvalid::Reject);
        assert_eq!(counts(&decoded.expect(name).summary), expected, "{name} {framing:?}\n{body}");
    }
}

#[test]
fn without_a_method_paths_count_alone() {
    let simple = r#"{"timestamp":"2026-01-01T00:00:07Z","path":" /home ","userAgent":"curl/8"}"#;
    let csv = "timestamp,path,userAgent\n2026-01-01T00:00:07Z,/home,curl/8";
    for (framing, body) in [(Framing::Lines, simple), (Framing::Csv(CsvHeader::AsItLooks), csv)] {
        let decoded = decoded(&format("simple", framing), body.as_bytes(), OnInvalid::Reject);
        let expected = ["2026-01-01T00:00:00Z 1 | /home 1 | curl 1 | [] None"];
        assert_eq!(counts(&decoded.expect("valid").summary), expected);
    }
}

/// A good entry and bad ones, in each framing: the one counts, and what is put aside is a body that
/// says the same of it.
#[test]
fn bad_entries_are_put_aside_with_their_bytes() {
    let good = r#"{"receivedAt":"2026-01-01T00:00:07Z","method":"GET","path":"/","userAgent":"x"}"#;
    let bad = good.replace("GET", "G T");
    let header = "receivedAt,method,path,userAgent";
    let cases: [(Framing, &str, String, Vec<String>); 4] = [
        (
            Framing::Json,
            "logmill",
            format!("[{bad}, {good} ,[7]]"),
            vec![bad.clone(), "[[7]]".into()],
        ),
        (Framing::Lines, "logmill", format!("{bad}\n{good}\noops\n"), vec![bad, "oops".into()]),
        (
            Framing::Csv(CsvHeader::AsItLooks),
            "logmill",
            format!("{header}\n\"soon\nish\",GET,/,x\n2026-01-01T00:00:07Z,GET,/,x\nnow,,\n"),
            vec![format!("{header}\n\"soon\nish\",GET,/,x"), format!("{header}\nnow,,")],
        ),
        (
            Framing::Lines,
            "combined",
            "?\nh - - [01/Jan/2026:00:00:07 +0000] \"GET / HTTP/1.1\" 200 1\n! \u{1}\n".into(),
            vec!["?".into(), "! \u{1}".into()],
        ),
    ];
    for (framing, name, body, expected) in cases {
        let format = format(name, framing);
        let refused = decoded(&format, body.as_bytes(), OnInvalid::Reject);
        let Err(DecodeError::Entries { count: 2, listed }) = refused else { panic!("{refused:?}") };
        let taken = decoded(&format, body.as_bytes(), OnInvalid::Skip).expect("one is good");
        assert_eq!((taken.summary.entries, &taken.listed), (1, &listed), "{body}");
        let bodies: Vec<_> = taken.dead.iter().map(|letter| taken.dead.body(letter)).collect();
        assert_eq!(bodies, expected.iter().map(|it| it.as_bytes().to_vec()).collect::<Vec<_>>());
        let found = match framing {
            Framing::Csv(_) => Framing::Csv(CsvHeader::Present),
            other => other,
        };
        assert_eq!(taken.dead.kind(), Some((found, name)));
        for (letter, body) in taken.dead.iter().zip(&bodies) {
            let format = Format { framing: found, ..format.clone() };
            let again = decoded(&format, body, OnInvalid::Reject);
            let Err(DecodeError::Entries { listed, .. }) = again else { panic!("{again:?}") };
            assert_eq!(*letter.reason, listed[0].to_string());
        }
        let kept = DeadLetters::from_bytes(&taken.dead.to_bytes());
        assert_eq!(kept.as_ref(), Some(&taken.dead));
    }
}

/// L1: a batch of nothing but bad entries does not become a heap of letters.
#[test]
fn so_many_are_put_aside_and_no_more() {
    let max = limits::BATCH_DEAD_LETTERS_MAX;
    let lines = format("logmill", Framing::Lines);
    let bad = |count: usize| "oops\n".repeat(count);
    let most = decoded(&lines, bad(max).as_bytes(), OnInvalid::Skip).expect("just as many");
    assert_eq!((most.summary.entries, most.dead.len()), (0, max));
    assert_eq!(most.listed.len(), limits::ENTRY_ERRORS_LISTED_MAX);
    let more = decoded(&lines, bad(max + 1).as_bytes(), OnInvalid::Skip);
    assert!(matches!(more, Err(DecodeError::TooManyInvalid { count, .. }) if count == max + 1));
    let long = format!("\"{}\"", "x".repeat(9_000));
    let refused = decoded(&lines, long.as_bytes(), OnInvalid::Skip).expect("put aside");
    assert!(refused.dead.iter().all(|it| it.reason.chars().count() <= limits::REASON_CHARS_MAX));
}

/// L1: what would be a window each minute of a century is refused.
#[test]
fn a_batch_touches_so_many_minutes_and_no_more() {
    let most = u32::try_from(limits::BATCH_WINDOWS_MAX).expect("small");
    let body = |minutes: u32| {
        let row = |minute| format!("{},GET,/,x\n", crate::window::Minute(minute));
        (0..minutes).map(row).collect::<String>()
    };
    let csv = format("logmill", Framing::Csv(CsvHeader::Absent));
    let taken = decoded(&csv, body(most).as_bytes(), OnInvalid::Reject).expect("just as many");
    assert_eq!(taken.summary.windows.len(), limits::BATCH_WINDOWS_MAX);
    let refused = decoded(&csv, body(most + 1).as_bytes(), OnInvalid::Reject);
    assert!(matches!(refused, Err(DecodeError::TooManyWindows)));
}

#[test]
fn a_header_that_lacks_a_column_is_refused_as_a_whole() {
    let csv = format("nginx", Framing::Csv(CsvHeader::Present));
    let refused = decoded(&csv, b"status,msec\n200,1\n", OnInvalid::Skip);
    let Err(DecodeError::Syntax(why)) = refused else { panic!("{refused:?}") };
    assert_eq!(why, "the header has no column request_uri");
    let simple = format("simple", Framing::Csv(CsvHeader::Present));
    let refused = decoded(&simple, b"path\n/", OnInvalid::Skip);
    assert!(matches!(refused, Err(DecodeError::Syntax(why)) if why.ends_with("timestamp")));
}

/// Bytes that are no text: a mistake in logmill's own entries, and a client's in a server's log.
#[test]
fn lines_may_hold_what_clients_sent() {
    let line = b"{\"msec\":1767225607,\"request_method\":\"GET\",\"request_uri\":\"/\xff\"}";
    let nginx = decoded(&format("nginx", Framing::Lines), line, OnInvalid::Reject);
    assert!(counts(&nginx.expect("counts").summary)[0].contains("GET /\u{fffd} 1"));
    let own = b"{\"receivedAt\":\"2026-01-01T00:00:07Z\",\"method\":\"GET\",\"path\":\"/\xff\",\"userAgent\":\"\"}";
    let refused = decoded(&format("logmill", Framing::Lines), own, OnInvalid::Reject);
    assert!(matches!(refused, Err(DecodeError::Entries { count: 1, .. })));
}

#[test]
fn each_format_calls_its_fields_by_their_names() {
    let formats = Formats::default();
    let names = |name: &str| {
        let fields = formats.get(name).expect("known");
        [Field::Time, Field::Path, Field::UserAgent].map(|field| fields.name_of(field))
    };
    assert_eq!(
        names("caddy"),
        [Some("ts"), Some("/request/uri"), Some("/request/headers/User-Agent/0")]
    );
    assert_eq!(names("combined"), [Some("time"), Some("path"), Some("user agent")]);
    let known: Vec<_> = formats.names().collect();
    let expected = ["apache", "caddy", "combined", "common", "envoy", "logmill", "nginx", "simple"];
    assert_eq!(known, expected);
}

/// A retry after a change of settings is still the same batch; another format is not.
#[test]
fn formats_are_told_apart() {
    let framings = [Framing::Json, Framing::Lines, Framing::Csv(CsvHeader::AsItLooks)];
    let mut ids: Vec<_> = ["logmill", "nginx", "caddy"]
        .iter()
        .flat_map(|name| framings.map(|framing| format(name, framing).id()))
        .collect();
    assert_eq!(ids[0], 1, "what keys of all earlier batches rest on");
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), 9);
}

/// A4: nothing is not a batch, whatever it is called, and takes no key.
#[test]
fn nothing_is_refused_in_every_framing() {
    let csv = Framing::Csv(CsvHeader::AsItLooks);
    for (framing, body) in [
        (Framing::Lines, ""),
        (Framing::Lines, "\n\n"),
        (Framing::Lines, " \r\n"),
        (Framing::Json, "[]"),
        (csv, ""),
        (csv, " \r\n"),
        (csv, "receivedAt,path\n"),
    ] {
        for on_invalid in [OnInvalid::Reject, OnInvalid::Skip] {
            let refused = decoded(&format("logmill", framing), body.as_bytes(), on_invalid);
            assert!(matches!(refused, Err(DecodeError::Empty)), "{framing:?} {body:?} {refused:?}");
        }
    }
}

/// What is put aside of a CSV body is read again as what it was: not as a header, and not without
/// the space that keeps a quote from being one.
#[test]
fn rows_that_are_put_aside_stay_what_they_were() {
    let good = "2026-01-01T00:00:07Z,GET,/,x";
    let body = format!("{good}\r\nreceivedAt,method,path\r\n \"2026-01-01T00:00:07Z\",GET,/,x\r\n");
    let format = format("logmill", Framing::Csv(CsvHeader::AsItLooks));
    let Decoded { dead, .. } =
        decoded(&format, body.as_bytes(), OnInvalid::Skip).expect("one is good");
    assert_eq!(dead.kind(), Some((Framing::Csv(CsvHeader::Absent), "logmill")));
    let bodies: Vec<_> = dead.iter().map(|letter| dead.body(letter)).collect();
    let expected: Vec<_> = body.split("\r\n").skip(1).take(2).map(str::as_bytes).collect();
    assert_eq!(bodies, expected);
    let refused = decoded(
        &Format { framing: Framing::Csv(CsvHeader::Present), ..format },
        b"\xff,path\n",
        OnInvalid::Skip,
    );
    assert!(matches!(refused, Err(DecodeError::Syntax(_))), "{refused:?}");
}

/// What a guess would make wrong counts of is refused instead.
#[test]
fn csv_is_not_guessed_at() {
    let csv = Framing::Csv(CsvHeader::AsItLooks);
    let time = "2026-01-01T00:00:07Z";
    let first_lines = [
        "ts,uri,method,userAgent".to_owned(),
        format!("{time},/a,GET,curl"),
        format!("{time};GET;/a;curl"),
    ];
    for line in first_lines {
        let body = format!("{line}\n{time},/b,GET,x\n");
        let refused = decoded(&format("apache", csv), body.as_bytes(), OnInvalid::Skip);
        let Err(DecodeError::Syntax(why)) = refused else { panic!("{body}: {refused:?}") };
        assert!(why.contains("neither a header"), "{why}");
    }
    let twice = format!("receivedAt,method,path,path,userAgent\n{time},GET,/a,/b,x\n");
    let refused = decoded(&format("logmill", csv), twice.as_bytes(), OnInvalid::Skip);
    assert!(matches!(refused, Err(DecodeError::Syntax(why)) if why.contains("path twice")));
    let header = "receivedAt,method,path,userAgent";
    for row in [format!("{time},GET,/a,Moz (a, b)"), format!("{time},GET,/a,\"Moz\n{time},GET,/,x")]
    {
        let body = format!("{header}\n{row}\n");
        let refused = decoded(&format("logmill", csv), body.as_bytes(), OnInvalid::Reject);
        assert!(matches!(refused, Err(DecodeError::Entries { count: 1, .. })), "{body}");
    }
}

#[test]
fn a_byte_order_mark_says_nothing_and_blank_bodies_are_empty() {
    let own = written("logmill").join("\n");
    for framing in [Framing::Json, Framing::Lines] {
        let body = format!("\u{feff}{own}");
        let taken = decoded(&format("logmill", framing), body.as_bytes(), OnInvalid::Reject);
        assert_eq!(taken.expect("valid").summary.entries, 5);
    }
    for framing in [Framing::Json, Framing::Lines, Framing::Csv(CsvHeader::AsItLooks)] {
        for body in ["", " \r\n ", "\u{feff}"] {
            let empty = decoded(&format("logmill", framing), body.as_bytes(), OnInvalid::Reject);
            assert!(matches!(empty, Err(DecodeError::Empty)), "{framing:?} {body:?} {empty:?}");
        }
    }
}
