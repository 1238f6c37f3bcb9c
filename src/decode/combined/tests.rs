//! Lines that servers write, lines that they do not, and arbitrary bytes.

use proptest::prelude::*;

use super::{AccessLine, Format, parse_line};

const COMBINED: &str = concat!(
    r#"83.149.9.216 - - [17/May/2015:10:05:03 +0000] "GET /images/a.png HTTP/1.1" 200 203023 "#,
    r#""http://semicomplete.com/" "Mozilla/5.0 (Macintosh)""#,
);

fn parsed(line: &str) -> AccessLine<'_> {
    parse_line(line.as_bytes()).unwrap_or_else(|error| panic!("{error}: {line}"))
}

/// The line's error as the user reads it.
fn error(line: &str) -> String {
    parse_line(line.as_bytes()).expect_err(line).to_string()
}

/// Method and path of a request line.
fn request(request: &str) -> (String, String) {
    let line = format!(r#"h - - [17/May/2015:10:05:03 +0000] "{request}" 400 0"#);
    let line = parsed(&line);
    (line.method.into_owned(), line.path.into_owned())
}

fn agent(agent: &str) -> String {
    let line =
        format!(r#"h - - [17/May/2015:10:05:03 +0000] "GET / HTTP/1.1" 200 0 "-" "{agent}""#);
    parsed(&line).user_agent.into_owned()
}

fn time(time: &str) -> String {
    parsed(&format!(r#"h - - [{time}] "GET / HTTP/1.1" 200 0"#)).time.to_string()
}

#[test]
fn combined_has_all_fields() {
    let line = parsed(COMBINED);
    assert_eq!(line.time.to_string(), "2015-05-17T10:05:03Z");
    assert_eq!((&*line.method, &*line.path), ("GET", "/images/a.png"));
    assert_eq!(line.user_agent, "Mozilla/5.0 (Macintosh)");
    assert_eq!((line.status, line.bytes), (Some(200), Some(203_023)));
    assert_eq!(line.format, Format::Combined);
}

#[test]
fn common_has_no_agent() {
    let line = parsed(r#"h - frank [10/Oct/2000:13:55:36 -0700] "GET /a.gif HTTP/1.0" 304 -"#);
    assert_eq!(line.time.to_string(), "2000-10-10T20:55:36Z");
    assert_eq!((line.status, line.bytes), (Some(304), None));
    assert_eq!((&*line.user_agent, line.format), ("", Format::Common));
}

#[test]
fn what_stands_before_the_time_may_vary() {
    let rest = r#"[17/May/2015:10:05:03 +0000] "GET /x HTTP/1.1" 200 1 "-" "a""#;
    for before in [
        "2001:db8::1 - -",
        "[::1]:443 - -",
        "www.example.com:443 10.0.0.1 - -",
        "10.0.0.1 - John Smith of [Sales]",
        "10.0.0.1 some ident user@example.com",
        r#"10.0.0.1 - """#,
    ] {
        let line = format!("{before} {rest}");
        assert_eq!(parsed(&line).path, "/x", "{before}");
    }
}

#[test]
fn further_fields_are_passed_over() {
    let nginx = format!(r#"{COMBINED} "203.0.113.7" rt=0.005 "unclosed"#);
    assert_eq!(parsed(&nginx).user_agent, "Mozilla/5.0 (Macintosh)");
    let common = r#"h - - [17/May/2015:10:05:03 +0000] "GET /x HTTP/1.1" 200 1 0.005 eu-1"#;
    assert_eq!(parsed(common).format, Format::Common);
}

#[test]
fn requests_that_are_not_http_count_as_requests() {
    let dash = |path: &str| ("-".to_owned(), path.to_owned());
    assert_eq!(request("-"), dash("-"));
    assert_eq!(request(""), dash("-"));
    assert_eq!(request(r"\x16\x03\x01\x02"), dash(r"\x16\x03\x01\x02"));
    assert_eq!(request("GET"), dash("GET"));
    assert_eq!(request("quit now"), dash("quit now"));
    assert_eq!(request("(x) / HTTP/1.1"), dash("(x) / HTTP/1.1"));
}

#[test]
fn requests_with_odd_targets() {
    let get = |path: &str| ("GET".to_owned(), path.to_owned());
    assert_eq!(request("GET /x"), get("/x"));
    assert_eq!(request("GET /a b HTTP/1.1"), get("/a b"));
    assert_eq!(request("GET  /x  HTTP/1.1"), get("/x"));
    assert_eq!(request(r"GET /\xe4?q=\x22 HTTP/1.1"), get(r"/\xe4?q=\x22"));
    assert_eq!(request(r#"GET /\"a\"\\ HTTP/1.1"#), get(r#"/"a"\\"#));
    assert_eq!(request(r#"GET /a"b"c HTTP/1.1"#), get(r#"/a"b"c"#));
    assert_eq!(request("GET \u{2003} HTTP/1.1"), get("-"));
    assert_eq!(request("CONNECT a:443 HTTP/1.1"), ("CONNECT".into(), "a:443".into()));
    assert_eq!(request("OPTIONS * HTTP/1.1"), ("OPTIONS".into(), "*".into()));
}

#[test]
fn agents_lose_the_escapes_of_the_log() {
    assert_eq!(agent("-"), "");
    assert_eq!(agent(""), "");
    assert_eq!(agent(r#"a \"b\" c"#), r#"a "b" c"#);
    assert_eq!(agent(r"a\\b"), r"a\b");
    assert_eq!(agent(r"\x22q\x22 \xC3\xA4"), "\"q\" ä");
    assert_eq!(agent(r"\x00 \xZZ \x4"), r"\x00 \xZZ \x4");
    assert_eq!(agent("a\u{1}\tb"), r"a\x01\x09b");
}

#[test]
fn bytes_that_are_not_utf8_are_replaced() {
    let mut line = COMBINED.as_bytes().to_vec();
    let at = line.windows(7).position(|part| part == b"Mozilla").expect("is there");
    line[at] = 0xff;
    let line = parse_line(&line).expect("parses");
    assert_eq!(line.user_agent, "\u{fffd}ozilla/5.0 (Macintosh)");
}

#[test]
fn times_are_checked() {
    assert_eq!(time("01/Jan/2024:00:30:00 +0530"), "2023-12-31T19:00:00Z");
    assert_eq!(time("29/Feb/2024:23:59:59 -1130"), "2024-03-01T11:29:59Z");
    assert_eq!(time("17/may/2015:10:05:03.123 +0000"), "2015-05-17T10:05:03Z");

    let broken = |time: &str| error(&format!(r#"h - - [{time}] "GET / HTTP/1.1" 200 0"#));
    for (time, expected) in [
        ("30/Feb/2024:00:00:00 +0000", "expected a day that this month has at column 8"),
        ("00/Feb/2024:00:00:00 +0000", "expected a day that this month has at column 8"),
        ("32/Jan/2024:00:00:00 +0000", "expected a day of the month at column 8"),
        ("01/Foo/2024:00:00:00 +0000", "expected a month from Jan to Dec at column 11"),
        ("01/Jan/24:00:00:00 +0000", "expected a year of four digits at column 15"),
        ("31/Dec/1969:23:59:59 +0000", "expected a year from 1970 to 2199 at column 15"),
        ("01/Jan/1970:00:00:00 +0100", "expected a year from 1970 to 2199 at column 15"),
        ("01/Jan/2024:24:00:00 +0000", "expected an hour, 00 to 23 at column 20"),
        ("01/Jan/2024:00:60:00 +0000", "expected a minute, 00 to 59 at column 23"),
        ("01/Jan/2024:00:00:60 +0000", "expected a second, 00 to 59 at column 26"),
        ("01/Jan/2024:00:00:00 0000", "expected an offset from UTC such as +0000 at column 29"),
        ("01/Jan/2024:00:00:00 +2400", "expected an offset from UTC such as +0000 at column 30"),
        ("01/Jan/2024:00:00:00", "expected a space after the seconds at column 28"),
    ] {
        assert_eq!(broken(time), expected, "{time}");
    }
}

#[test]
fn errors_say_what_was_expected_where() {
    let time = "a time such as [17/May/2015:10:05:03 +0000]";
    assert_eq!(error(""), format!("expected {time} at column 1"));
    assert_eq!(error("not an access log"), format!("expected {time} at column 15"));
    let start = "h - - [17/May/2015:10:05:03 +0000]";
    assert_eq!(
        error("h - [17/May/2015:10:05:03 +0000] "),
        "expected host, ident and user before the time at column 4"
    );
    assert_eq!(error(start), "expected `] ` after the time at column 34");
    assert_eq!(error(&format!("{start} GET")), "expected the request line in quotes at column 36");
    assert_eq!(
        error(&format!(r#"{start} "GET"#)),
        "expected the quote that closes this field at column 40"
    );
    let request = format!(r#"{start} "GET / HTTP/1.1""#);
    assert_eq!(error(&request), "expected a space after the request line at column 52");
    let status = "expected a status of three digits or `-` at column 53";
    assert_eq!(error(&format!("{request} 20 1")), status);
    assert_eq!(error(&format!("{request} abc 1")), status);
    assert_eq!(
        error(&format!("{request} 200")),
        "expected a space and the number of bytes after the status at column 56"
    );
    assert_eq!(
        error(&format!("{request} 200 -1")),
        "expected a number of bytes or `-` at column 57"
    );
    assert_eq!(
        error(&format!(r#"{request} 200 1 "-""#)),
        "expected a space and the user agent after the referer at column 62"
    );
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(line in prop::collection::vec(any::<u8>(), 0..200)) {
        let _outcome = parse_line(&line);
    }

    #[test]
    fn damaged_lines_never_panic(
        changes in prop::collection::vec((0..COMBINED.len(), any::<u8>()), 0..6),
        length in 0..COMBINED.len() + 1,
    ) {
        let mut line = COMBINED.as_bytes().to_vec();
        for (at, byte) in changes {
            line[at] = byte;
        }
        line.truncate(length);
        match parse_line(&line) {
            Ok(read) => prop_assert!(!read.method.is_empty() && !read.path.is_empty()),
            Err(error) => prop_assert!(error.column >= 1 && error.column <= line.len() + 1),
        }
    }
}
