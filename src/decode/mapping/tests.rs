//! What stands where in senders' entries, and what it means that something does not.

use super::super::Formats;
use super::super::format::Fields;
use super::*;

fn mapping(name: &str) -> std::sync::Arc<Mapping> {
    let formats = Formats::default();
    let Some(Fields::Mapped(mapping)) = formats.get(name) else { panic!("{name} is a mapping") };
    std::sync::Arc::clone(mapping)
}

/// Method, path, agent, status and bytes of an entry, or what is wrong with which field.
fn read(mapping: &Mapping, object: &str) -> Result<String, String> {
    let mut said = String::new();
    mapping
        .reader()
        .json(object, |entry| {
            let LogEntry { method, path, user_agent, status, bytes, .. } = entry;
            said = format!("{method:?} {path:?} {user_agent:?} {status:?} {bytes:?}");
        })
        .map_err(|error| {
            format!("{}: {}", mapping.name_of(error.field).unwrap_or("entry"), error.reason)
        })?;
    Ok(said)
}

/// What servers write for requests that were none, or said little.
#[test]
fn what_a_server_has_logged_counts() {
    let nginx = mapping("nginx");
    let with = |rest: &str| format!(r#"{{"time_iso8601":"2026-01-01T00:00:07+00:00",{rest}}}"#);
    for (rest, expected) in [
        (
            r#""request_method":"","request_uri":"","status":400,"http_user_agent":"""#,
            r#"Some("-") "-" "" Some(400) None"#,
        ),
        (
            r#""request_method":"GET","request_uri":"/a","status":"200","bytes_sent":"7","http_user_agent":"-""#,
            r#"Some("GET") "/a" "" Some(200) Some(7)"#,
        ),
        (
            r#""request":"GET /a?b HTTP/1.1","status":"009","body_bytes_sent":"-","http_user_agent":null"#,
            r#"Some("GET") "/a?b" "" None None"#,
        ),
        (
            r#""request":"\u0016\u0003\u0001","http_user_agent":"a\u0007b""#,
            r#"Some("-") "\\x16\\x03\\x01" "a\\x07b" None None"#,
        ),
        (
            r#""request_method":"G T","request_uri":"/ü","body_bytes_sent":1,"bytes_sent":2"#,
            r#"Some("-") "/ü" "" None Some(1)"#,
        ),
    ] {
        assert_eq!(read(&nginx, &with(rest)).as_deref(), Ok(expected), "{rest}");
    }
    for (rest, expected) in [
        (r#""request_method":"GET""#, "request_uri: is missing"),
        (r#""request_uri":"/a""#, "request_method: is missing"),
        (r#""request":"GET /","status":"2x0""#, "status: must be a whole number"),
        (r#""request":"GET /","status":1000"#, "status: must be a status, from 100 to 999"),
        (r#""request":"GET /","bytes_sent":1.5"#, "body_bytes_sent: must be a whole number"),
        (r#""request":"GET /","request":"GET /""#, "entry: duplicate field `request`"),
    ] {
        assert_eq!(read(&nginx, &with(rest)), Err(expected.into()), "{rest}");
    }
    let untimed = read(&nginx, r#"{"request":"GET / HTTP/1.1"}"#);
    assert_eq!(untimed, Err("time_iso8601: is missing".into()));
}

/// Of several places the first that is there counts.
#[test]
fn times_come_as_the_sender_writes_them() {
    let nginx = mapping("nginx");
    for time in [
        r#""msec":1767225607.123"#,
        r#""msec":"1767225607.123""#,
        r#""time_local":"01/Jan/2026:01:00:07 +0100""#,
        r#""time_iso8601":null,"time_local":"01/Jan/2026:00:00:07 +0000""#,
        r#""msec":1,"time_iso8601":"2026-01-01T00:00:59Z""#,
    ] {
        let mut minute = None;
        let object = format!(r#"{{{time},"request":"GET / HTTP/1.1"}}"#);
        nginx.reader().json(&object, |entry| minute = Some(entry.minute)).expect("valid");
        assert_eq!(minute.map(|m| m.to_string()).as_deref(), Some("2026-01-01T00:00:00Z"));
    }
}

#[test]
fn logmills_own_entries_are_held_to_the_letter() {
    let own = mapping("logmill");
    let entry = |rest: &str| format!(r#"{{"receivedAt":"2026-01-01T00:00:00Z",{rest}}}"#);
    let full = r#""method":"GET","path":"/","userAgent":"-""#;
    assert_eq!(read(&own, &entry(full)).as_deref(), Ok(r#"Some("GET") "/" "-" None None"#));
    for (rest, expected) in [
        (r#""method":"GET","path":"/""#, "userAgent: is missing"),
        (r#""method":1,"path":"/","userAgent":"""#, "method: must be a string"),
        (r#""method":"GET","path":null,"userAgent":"""#, "path: must be a string"),
        (r#""method":"GET","path":" ","userAgent":"""#, "path: must not be empty"),
        (&format!(r#"{full},"status":"200""#), "status: must be a number"),
        (&format!(r#"{full},"status":200.5"#), "status: must be a whole number"),
        (&format!(r#"{full},"bytes":-1"#), "bytes: must be a whole number"),
        (&format!(r#"{full},"path":"/""#), "entry: duplicate field `path`"),
    ] {
        assert_eq!(read(&own, &entry(rest)), Err(expected.into()), "{rest}");
    }
    for object in ["[]", "7", r#"["receivedAt"]"#, "null"] {
        assert_eq!(read(&own, object), Err("entry: must be a JSON object".into()));
    }
    assert!(read(&own, "{").is_err_and(|why| why.starts_with("entry: is not a JSON object")));
}

#[test]
fn a_format_of_the_users_own_says_where_things_are() {
    let list = |places: &[&str]| places.iter().map(ToString::to_string).collect::<Vec<_>>();
    let (time, path) = (list(&["/meta/ts"]), list(&["url"]));
    let (query, agent) = (list(&["/a~1b/0"]), list(&["ua", "/headers/user~0agent"]));
    let places = Places {
        time: (&time, TimeForm::Millis),
        path: &path,
        query: &query,
        user_agent: &agent,
        ..Places::default()
    };
    let own = Mapping::new("shop", &places).expect("valid");
    let object = r#"{"meta":{"ts":1767225607123},"url":"/x","a/b":["?q=1"],"headers":{"user~agent":"curl/8"}}"#;
    assert_eq!(read(&own, object).as_deref(), Ok(r#"None "/x?q=1" "curl/8" None None"#));
    let odd = r#"{"meta":{"ts":1767225607123},"url":"/x","a/b":"q=1","headers":7}"#;
    assert_eq!(read(&own, odd).as_deref(), Ok(r#"None "/x" "" None None"#));
    let other = r#"{"meta":{"ts":1767225607123},"url":"(other)"}"#;
    assert!(read(&own, other).is_err_and(|why| why.starts_with("url: must not be (other)")));

    let refused = |time: &[String], path: &[String]| {
        let time = (time, TimeForm::Rfc3339);
        Mapping::new("shop", &Places { time, path, ..Places::default() }).expect_err("wrong")
    };
    assert!(refused(&[], &path).starts_with("must say where"));
    assert!(refused(&time, &[]).starts_with("must say where"));
    assert_eq!(refused(&path, &path), r#"has "url" twice"#);
    assert_eq!(refused(&list(&[""]), &path), "has an empty name");
}
