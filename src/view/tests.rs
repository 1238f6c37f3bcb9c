//! What is drawn of fixed answers.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;
use std::sync::mpsc;
use std::thread;

use serde_json::json;

use super::answer::{Series, Top};
use super::series::{Drawing, blocks};
use super::tail::{Minutes, NewsLine};
use super::text::{self, Screen, change, clean, minute, percent};
use super::top::table;
use crate::client::Question;

const PIPE: Screen = Screen { is_terminal: false, is_coloured: false, columns: 60 };
const TERMINAL: Screen = Screen { is_terminal: true, is_coloured: true, columns: 60 };

/// What a hostile visitor may call a path: it clears the screen, breaks the line, turns the
/// direction of writing.
const HOSTILE: &str = "GET /a\u{1b}[2J\n\r\u{9b}31m\u{202e}\u{7}";

fn now() -> jiff::Timestamp {
    "2026-11-26T18:03:20Z".parse().expect("a time")
}

fn top_answer() -> Top {
    serde_json::from_value(json!({
        "customerId": "acme", "from": "2026-11-26T17:00:00Z", "to": "2026-11-26T18:00:00Z",
        "by": "path", "requests": 2_000, "keys": 12, "others": 299,
        "top": [
            { "key": "GET /", "requests": 1_500, "before": 1_000 },
            { "key": "GET /wörld/世界", "requests": 200, "before": 400 },
            { "key": HOSTILE, "requests": 1, "before": 0 },
        ],
        "before": { "from": "2026-11-26T16:00:00Z", "to": "2026-11-26T17:00:00Z", "requests": 1_600 },
        "next": "r3",
    }))
    .expect("an answer")
}

#[test]
fn a_top_list_is_a_table_with_bars() {
    let text = table(&top_answer(), PIPE);
    let expected = "\
acme  2026-11-26T17:00Z to 2026-11-26T18:00Z  2,000 requests (+25.0 % against the period before)
path                         requests   share   change
GET /                           1,500  75.0 %  +50.0 %  ████
GET /wörld/世界                   200  10.0 %  -50.0 %  ▌
GET /a\\u{1b}[2J\\n\\r\\u{9b}3…         1   0.1 %      new  ▏
(9 more)                          299  15.0 %
";
    assert_eq!(text, expected, "\n{text}");
}

#[test]
fn nothing_is_said_in_words() {
    let none = json!({
        "customerId": "acme", "from": "2026-11-26T17:00:00Z", "to": "2026-11-26T18:00:00Z",
        "by": "kind", "requests": 0, "keys": 0, "others": 0, "top": [], "next": null,
    });
    let text = table(&serde_json::from_value(none).expect("an answer"), PIPE);
    assert!(text.ends_with("0 requests\nno requests\n"), "{text}");
    let none = json!({"customerId": "acme", "windowSize": "minute", "points": [], "next": null});
    let mut drawing = Drawing::default();
    drawing.add(serde_json::from_value(none).expect("an answer")).expect("no times");
    assert_eq!(drawing.draw((None, None), now(), PIPE), "acme  no requests\n");
}

fn drawn(answer: serde_json::Value, range: (Option<&str>, Option<&str>), screen: Screen) -> String {
    let page: Series = serde_json::from_value(answer).expect("an answer");
    let mut drawing = Drawing::default();
    drawing.add(page).expect("times");
    drawing.draw(range, now(), screen)
}

fn point(time: &str, requests: u64) -> serde_json::Value {
    json!({"windowStart": time, "requests": requests, "late": 0, "revision": 0, "final": true})
}

#[test]
fn a_series_spans_what_was_asked_for() {
    let answer = json!({"customerId": "acme", "windowSize": "minute", "next": null, "points": [
        point("2026-11-26T18:00:00Z", 7), point("2026-11-26T18:02:00Z", 14),
    ]});
    let text = drawn(answer.clone(), (Some("-5m"), Some("now")), PIPE);
    let head = "acme  requests per minute, 2026-11-26T17:59Z to 2026-11-26T18:04Z\n";
    assert_eq!(text, format!("{head}▁▅▁█▁\nmin 0  max 14  total 21\n"), "\n{text}");
    // An offset says the same time; what is within a window ends with it.
    let range = (Some("2026-11-26T19:00:00+01:00"), Some("2026-11-26T18:02:30Z"));
    assert!(drawn(answer, range, PIPE).contains("\n▅▁█\nmin 0"));
    // By default 60 windows, as the server has it.
    let full = (0..60).map(|at| point(&format!("2026-11-26T17:{at:02}:00Z"), 5));
    let answer = json!({"customerId": "a", "windowSize": "minute", "next": null,
        "points": full.collect::<Vec<_>>()});
    let text = drawn(answer, (None, Some("2026-11-26T18:00:00Z")), PIPE);
    assert!(text.contains(&format!("\n{}\nmin 5  max 5  total 300", "█".repeat(60))), "{text}");
}

#[test]
fn a_long_series_fits_the_line() {
    let points =
        (0..1_440).map(|at| point(&format!("2026-11-26T{:02}:{:02}:00Z", at / 60, at % 60), 1));
    let answer = json!({"customerId": "a", "windowSize": "minute", "next": null,
        "points": points.collect::<Vec<_>>()});
    let range = (Some("2026-11-26T00:00:00Z"), Some("2026-11-27T00:00:00Z"));
    // Flat, whether or not the minutes divide by the columns.
    for columns in [48, 47, 1_000] {
        let text = drawn(answer.clone(), range, Screen { columns, ..PIPE });
        let line = "█".repeat(columns);
        assert!(text.contains(&format!("\n{line}\nmin 1  max 1  total 1,440\n")), "{text}");
    }
}

/// When clocks change, a day has 23 or 25 hours and is one column all the same.
#[test]
fn days_are_columns_of_their_own() {
    let starts =
        ["2026-10-24T00:00:00+02:00", "2026-10-25T00:00:00+02:00", "2026-10-26T00:00:00+01:00"];
    let points: Vec<_> = starts.iter().map(|start| point(start, 3)).collect();
    let answer = json!({"customerId": "a", "windowSize": "day", "next": null, "points": points});
    let range = (Some("2026-10-23T22:00:00Z"), Some("2026-10-26T23:00:00Z"));
    assert!(drawn(answer, range, PIPE).contains("\n███\nmin 3  max 3  total 9\n"));
}

#[test]
fn a_split_has_a_row_for_each_key() {
    let answer = json!({
        "customerId": "acme", "windowSize": "hour", "split": "path", "keys": ["GET /", HOSTILE, "GET /c"],
        "points": [
            {"windowStart": "2026-11-26T16:00:00Z", "requests": 100, "final": true,
             "top": {"GET /": 90}, "others": 10},
            {"windowStart": "2026-11-26T17:00:00Z", "requests": 47, "final": true,
             "top": {"GET /": 45, HOSTILE: 2}, "others": 0},
        ], "next": null});
    let range = (Some("2026-11-26T16:00:00Z"), Some("2026-11-26T18:00:00Z"));
    let text = drawn(answer, range, PIPE);
    let expected = "\
acme  requests per hour, 2026-11-26T16:00Z to 2026-11-26T18:00Z
GET /               █▅  max 90  135
GET /a\\u{1b}[2J\\n…  ▁█   max 2    2
(others)            █▁  max 10   10
min 47  max 100  total 147
";
    assert_eq!(text, expected, "\n{text}");
}

#[test]
fn blocks_tell_nothing_from_little() {
    assert_eq!(blocks(&[0, 1, 1_000, 500, u64::MAX / 2]), "▁▂▂▂█");
    assert_eq!(blocks(&[0, 1, 2, 3, 4, 5, 6, 7]), "▁▂▃▄▅▆▇█");
    assert_eq!(blocks(&[0, 0]), "▁▁");
}

fn windows(requests: u64, late: u64) -> Vec<u8> {
    let window = |start: &str, requests, late| {
        json!({"customerId": "acme", "windowStart": start, "windowSize": "minute",
            "requests": requests, "late": late, "revision": u64::from(late > 0), "final": false,
            "requestsByPath": {"GET /b": 1, "GET /a": 1}, "requestsByUserAgent": {HOSTILE: 2}})
    };
    let windows =
        [window("2026-11-26T18:02:00Z", 4, late), window("2026-11-26T18:03:00Z", requests, 0)];
    serde_json::to_vec(&json!({"windows": windows, "next": null})).expect("JSON")
}

fn news(minutes: &mut Minutes, body: &[u8], is_json: bool, screen: Screen) -> Vec<NewsLine> {
    minutes.news(body, is_json, screen).expect("an answer")
}

#[test]
fn a_tail_prints_what_is_new_and_what_has_changed() {
    let wide = Screen { columns: 200, ..PIPE };
    let mut minutes = Minutes::default();
    let texts = |lines: Vec<NewsLine>| lines.into_iter().map(|line| line.text).collect::<Vec<_>>();
    let names = "GET /a 25.0 %  GET /a\\u{1b}[2J\\n\\r\\u{9b}31m\\u{202e}\\u{7} 50.0 %";
    let first = texts(news(&mut minutes, &windows(1_234, 0), false, wide));
    assert_eq!(first[0], format!("+ 2026-11-26T18:02Z        4  {names}"));
    assert!(first[1].starts_with("+ 2026-11-26T18:03Z    1,234  GET /a 0.1 %"), "{}", first[1]);
    assert_eq!(texts(news(&mut minutes, &windows(1_234, 0), false, wide)), [] as [&str; 0]);
    let late = texts(news(&mut minutes, &windows(1_234, 3), false, wide));
    assert_eq!(late, [format!("~ 2026-11-26T18:02Z        4  late 3, revision 1  {names}")]);
}

/// A server that gives a page for each minute, the next one by its cursor; what it was asked for.
fn paged() -> (String, mpsc::Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let url = format!("http://{}", listener.local_addr().expect("bound"));
    let (tell, asked) = mpsc::channel();
    let serve = move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let mut lines = BufReader::new(&stream).lines().map_while(Result::ok);
            let target = lines.next().unwrap_or_default();
            lines.take_while(|line| !line.is_empty()).for_each(drop);
            let at = u32::from(target.contains("cursor"));
            let list = if target.contains("/series") { "points" } else { "windows" };
            let start = format!("2026-11-26T18:0{at}:00Z");
            let body = json!({"customerId": "acme", "windowSize": "minute",
                list: [{"windowStart": start, "requests": at + 1}]});
            let link = if at == 0 { "link: </a?cursor=1>; rel=\"next\"\r\n" } else { "" };
            let head = "HTTP/1.1 200 OK\r\nconnection: close\r\netag: \"t\"";
            // Nobody may want to know.
            tell.send(target).ok();
            write!(&stream, "{head}\r\n{link}\r\n{body}").expect("it listens");
        }
    };
    thread::Builder::new().spawn(serve).expect("a thread");
    (url, asked)
}

/// Pages begin with the oldest minute, and names can fill the first one: the newest minute stands
/// on the last page, and is what a tail is for.
#[test]
fn a_tail_reads_to_the_last_page() {
    let (url, asked) = paged();
    let server = super::server(url, None, None).once();
    let question = Question::new("/analytics/series").with("kind", Some("ai"));
    let mut minutes = Minutes::default();
    let mut look = || {
        let mut out = Vec::new();
        let news = minutes.look(&server, &question).expect("an answer");
        minutes.print(news, &server, &question, false, (PIPE, &mut out)).expect("an answer");
        let asked = asked.try_iter().collect::<Vec<_>>();
        (String::from_utf8(out).expect("text"), asked)
    };
    let (text, asked) = look();
    assert_eq!(text, "+ 2026-11-26T18:00Z        1\n+ 2026-11-26T18:01Z        2\n");
    let first = "GET /analytics?kind=ai&from=2026-11-26T18:00:00Z&to=2026-11-26T18:02:00Z ";
    assert!(asked[2].replace("%3A", ":").starts_with(first), "{asked:?}");
    let (text, asked) = look();
    assert_eq!((text.as_str(), asked.len()), ("", 2), "only the numbers, of both pages: {asked:?}");
}

/// Only the line that stands last can be written anew, and only where that is seen.
#[test]
fn a_growing_minute_stays_in_its_line_on_a_terminal() {
    let replaces =
        |lines: Vec<NewsLine>| lines.iter().map(|line| line.replaces).collect::<Vec<_>>();
    for (screen, is_json, again) in
        [(TERMINAL, false, true), (TERMINAL, true, false), (PIPE, false, false)]
    {
        let mut minutes = Minutes::default();
        let mut next = |requests, late| {
            replaces(news(&mut minutes, &windows(requests, late), is_json, screen))
        };
        assert_eq!(next(5, 0), [false, false]);
        assert_eq!(next(6, 0), [again]);
        assert_eq!(next(6, 1), [false], "an earlier minute");
        assert_eq!(next(7, 1), [false], "it is no longer the last line");
        assert_eq!(next(8, 1), [again]);
    }
}

#[test]
fn lines_are_no_wider_than_the_terminal() {
    let lines = news(&mut Minutes::default(), &windows(1, 1), false, TERMINAL);
    for text in lines.iter().map(|line| &*line.text) {
        assert!(text::width(text) <= 60, "{text}");
    }
    let plain = console::strip_ansi_codes(&lines[0].text).into_owned();
    assert!(plain.ends_with('…') && plain.len() < lines[0].text.len(), "{plain}");
    for line in table(&top_answer(), Screen { columns: 100, ..PIPE }).lines() {
        assert!(text::width(line) <= 100, "{line}");
    }
}

/// Without colours there is no escape code; with them, none that a name brought along.
#[test]
fn no_name_steers_a_terminal() {
    for screen in [PIPE, TERMINAL] {
        let lines = news(&mut Minutes::default(), &windows(1, 1), false, screen);
        let json = news(&mut Minutes::default(), &windows(1, 1), true, screen);
        let lines = lines.into_iter().chain(json).map(|line| line.text);
        for text in lines.chain([table(&top_answer(), screen)]) {
            let plain = console::strip_ansi_codes(&text);
            assert_eq!(plain.len() < text.len(), screen.is_coloured && !text.starts_with('{'));
            assert!(!plain.contains(|c: char| c != '\n' && text::is_steering(c)), "{plain:?}");
        }
    }
    assert_eq!(clean("a\tb\u{200f}c\u{feff}"), "a\\tb\\u{200f}c\\u{feff}");
    assert_eq!(clean("Größe 世界 é 👩\u{1f3fd}"), "Größe 世界 é 👩\u{1f3fd}");
}

#[test]
fn figures_are_rounded_and_never_hide_anything() {
    assert_eq!(percent(1, 3), "33.3 %");
    assert_eq!(percent(1, 1_000_000), "<0.1 %");
    assert_eq!(percent(0, 5), "0.0 %");
    assert_eq!(percent(0, 0), "");
    assert_eq!((change(0, 5), change(0, 0), change(7, 7)), ("new".into(), "=".into(), "=".into()));
    assert_eq!(
        (&*change(3, 4), &*change(4, 0), &*change(1, 3_001)),
        ("+33.3 %", "-100.0 %", "+300,000 %")
    );
    assert_eq!(minute("2026-11-26T18:03:00+01:00"), "2026-11-26T18:03+01:00");
    assert_eq!(minute("\u{1b}"), "\\u{1b}");
    assert_eq!(minute("2026-11-26T18:03é00Z"), "2026-11-26T18:03é00Z");
}
