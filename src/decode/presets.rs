//! The formats that are known by name: what senders call the fields, and how they write the time.
//!
//! One table. Each has a line as its sender writes it, which a test reads.

use super::mapping::{Mapping, Missing};
use super::time::TimeForm::{self, Clf, Rfc3339, Seconds};

/// Where a format has its fields: JSON pointers (RFC 6901), or plain names of the top level. Of
/// several, the first that is there counts.
pub(super) struct Preset {
    /// What `?format=` calls it.
    pub(super) name: &'static str,
    pub(super) time: &'static [(&'static str, TimeForm)],
    /// Empty for formats that have no method: paths count without one.
    pub(super) method: &'static [&'static str],
    pub(super) path: &'static [&'static str],
    /// A query string that stands apart from the path.
    pub(super) query: &'static [&'static str],
    /// A whole request line, used where there is no path.
    pub(super) request: &'static [&'static str],
    pub(super) user_agent: &'static [&'static str],
    pub(super) status: &'static [&'static str],
    pub(super) bytes: &'static [&'static str],
    pub(super) missing: Missing,
}

const NONE: Preset = Preset {
    name: "",
    time: &[],
    method: &[],
    path: &[],
    query: &[],
    request: &[],
    user_agent: &[],
    status: &[],
    bytes: &[],
    missing: Missing::IsWrong,
};

/// All formats of JSON objects that are known by name, logmill's own first.
pub(super) const PRESETS: [Preset; 6] = [
    Preset {
        name: "logmill",
        time: &[("receivedAt", Rfc3339)],
        method: &["method"],
        path: &["path"],
        user_agent: &["userAgent"],
        status: &["status"],
        bytes: &["bytes"],
        ..NONE
    },
    // A `log_format` with `escape=json` whose names are those of nginx's variables.
    Preset {
        name: "nginx",
        time: &[("time_iso8601", Rfc3339), ("msec", Seconds), ("time_local", Clf)],
        method: &["request_method"],
        path: &["request_uri"],
        request: &["request"],
        user_agent: &["http_user_agent"],
        status: &["status"],
        bytes: &["body_bytes_sent", "bytes_sent"],
        missing: Missing::WasLogged,
        ..NONE
    },
    // Caddy's own access log, format json.
    Preset {
        name: "caddy",
        time: &[("ts", Seconds)],
        method: &["/request/method"],
        path: &["/request/uri"],
        user_agent: &["/request/headers/User-Agent/0"],
        status: &["status"],
        bytes: &["size"],
        missing: Missing::WasLogged,
        ..NONE
    },
    // Envoy's `json_format` with the names that Istio gives the fields.
    Preset {
        name: "envoy",
        time: &[("start_time", Rfc3339)],
        method: &["method"],
        path: &["path"],
        user_agent: &["user_agent"],
        status: &["response_code"],
        bytes: &["bytes_sent"],
        missing: Missing::WasLogged,
        ..NONE
    },
    // A `LogFormat` that writes JSON, with plain names.
    Preset {
        name: "apache",
        time: &[("time", Rfc3339), ("time_local", Clf)],
        method: &["method"],
        path: &["uri"],
        query: &["query"],
        request: &["request"],
        user_agent: &["userAgent", "user_agent"],
        status: &["status"],
        bytes: &["bytes"],
        missing: Missing::WasLogged,
    },
    // What senders without a method send.
    Preset {
        name: "simple",
        time: &[("timestamp", Rfc3339)],
        path: &["path"],
        user_agent: &["userAgent"],
        status: &["status"],
        bytes: &["bytes"],
        ..NONE
    },
];

/// The mappings of all formats that are known by name.
pub(super) fn mappings() -> impl Iterator<Item = Mapping> {
    PRESETS.iter().map(Mapping::of_preset)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `POST /search?q=1` by `curl/8.5.0`, in the first minute of 2026, as each sender writes it.
    const SAMPLES: [(&str, &str); 6] = [
        (
            "logmill",
            r#"{"receivedAt":"2026-01-01T00:00:07Z","method":"POST","path":"/search?q=1","userAgent":"curl/8.5.0","status":200,"bytes":512}"#,
        ),
        (
            "nginx",
            r#"{"time_iso8601":"2026-01-01T01:00:07+01:00","remote_addr":"192.0.2.1","request_method":"POST","request_uri":"/search?q=1","status":200,"body_bytes_sent":512,"http_user_agent":"curl/8.5.0"}"#,
        ),
        (
            "caddy",
            r#"{"level":"info","ts":1767225607.5241024,"logger":"http.log.access","msg":"handled request","request":{"remote_ip":"192.0.2.1","proto":"HTTP/2.0","method":"POST","host":"localhost","uri":"/search?q=1","headers":{"User-Agent":["curl/8.5.0"],"Accept":["*/*"]}},"bytes_read":0,"user_id":"","duration":0.000929675,"size":512,"status":200,"resp_headers":{"Server":["Caddy"]}}"#,
        ),
        (
            "envoy",
            r#"{"start_time":"2026-01-01T00:00:07.123Z","method":"POST","path":"/search?q=1","protocol":"HTTP/1.1","response_code":200,"response_flags":"-","bytes_received":0,"bytes_sent":512,"duration":3,"user_agent":"curl/8.5.0","authority":"example.com"}"#,
        ),
        (
            "apache",
            r#"{"time":"2026-01-01T00:00:07+0000","host":"192.0.2.1","method":"POST","uri":"/search","query":"?q=1","status":"200","bytes":"512","userAgent":"curl/8.5.0"}"#,
        ),
        (
            "simple",
            r#"{"timestamp":"2026-01-01T00:00:07Z","path":"/search?q=1","userAgent":"curl/8.5.0"}"#,
        ),
    ];

    #[test]
    fn the_sample_of_each_format_is_read() {
        for (preset, (name, sample)) in PRESETS.iter().zip(SAMPLES) {
            assert_eq!(preset.name, name);
            let mapping = Mapping::of_preset(preset);
            let mut read = false;
            let taken = mapping.reader().json(sample, |entry| {
                read = true;
                assert_eq!(entry.minute.to_string(), "2026-01-01T00:00:00Z", "{name}");
                assert_eq!(entry.method, (name != "simple").then_some("POST"), "{name}");
                assert_eq!(entry.path, "/search?q=1", "{name}");
                assert_eq!(entry.user_agent, "curl/8.5.0", "{name}");
                let said = (name != "simple").then_some((200, 512));
                assert_eq!(entry.status.zip(entry.bytes), said, "{name}");
            });
            assert_eq!((taken, read), (Ok(()), true), "{name}");
        }
    }
}
