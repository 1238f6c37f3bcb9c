//! The pure parts against a table of requests in memory, counted without any of their code.

use std::collections::BTreeMap;

use super::BadData;
use super::answer;
use super::catalogue::{CUSTOMER, Metric, NAME};
use super::evaluate::{Counted, Series, evaluate};
use super::plan::{Plan, Scope};
use super::promql::{Query, Vector, parse, parse_selector};
use super::time::{Grid, duration_seconds, parse_step, parse_time, span};
use crate::counts::{Dimension, Totals};
use crate::ids::{AcceptTime, CustomerId};
use crate::limits;
use crate::window::{Minute, Span};

/// Requests: minute, path, family.
struct Table(Vec<(u32, &'static str, &'static str)>);

impl Counted for Table {
    type Error = BadData;

    fn totals(&self, span: Span) -> Result<Totals, BadData> {
        let mut totals = Totals::default();
        for (minute, _, family) in &self.0 {
            if span.contains(Minute(*minute)) {
                totals.requests += 1;
                totals.late += u64::from(minute % 2 == 0);
                let status = if *family == "curl" { 404 } else { 200 };
                totals.responses.add(Some(status), Some(10));
            }
        }
        Ok(totals)
    }

    fn each_name(
        &self,
        by: Dimension,
        span: Span,
        each: &mut dyn FnMut(&str, u64),
    ) -> Result<(), BadData> {
        for (_, path, family) in self.0.iter().filter(|row| span.contains(Minute(row.0))) {
            each(if by == Dimension::Path { path } else { family }, 1);
        }
        Ok(())
    }

    fn kind(&self, family: &str) -> &'static str {
        if family == "curl" { "client" } else { "person" }
    }
}

fn table() -> Table {
    Table(vec![
        (100, "GET /", "Chrome"),
        (100, "GET /", "curl"),
        (100, "GET /pricing", "Chrome"),
        (101, "GET /", "Firefox"),
        (103, "POST /api/x", "curl"),
        (103, "POST /api/x", "curl"),
    ])
}

fn vector(query: &str) -> Result<Vector, BadData> {
    match parse(query)? {
        Query::Vector(vector) => Ok(vector),
        Query::Number(number) => panic!("{query} is the number {number}"),
    }
}

fn ask(query: &str, grid: Grid) -> Result<Vec<Series>, BadData> {
    let plan = Plan::of(vector(query)?)?;
    evaluate(&table(), &CustomerId::new("acme").expect("valid"), &plan, grid)
}

/// Series as text, `{path="GET /"} 0 2 1`.
fn told(query: &str, grid: Grid) -> Vec<String> {
    let series = ask(query, grid).unwrap_or_else(|error| panic!("{query}: {error}"));
    let tell = |series: &Series| {
        let labels = series.labels.iter().map(|(label, value)| format!("{label}={value}"));
        let labels: Vec<_> = labels.collect();
        let values: Vec<_> =
            series.samples.iter().map(|(at, value)| format!("{value}@{}", at.0)).collect();
        format!("{{{}}} {}", labels.join(","), values.join(" "))
    };
    series.iter().map(tell).collect()
}

const MINUTES: Grid = Grid { first: Minute(101), step: 1, count: 4 };

#[test]
fn each_point_is_the_window_that_ends_there() {
    let all = told("logmill_requests", MINUTES);
    assert_eq!(all, ["{__name__=logmill_requests,customer=acme} 3@101 1@102 0@103 2@104"]);
    let two = Grid { first: Minute(102), step: 2, count: 2 };
    assert_eq!(told("sum(logmill_requests)", two), ["{} 4@102 2@104"]);
    assert_eq!(told("sum(logmill_late_requests)", two), ["{} 3@102 0@104"]);
    assert_eq!(
        told("sum by (customer) (logmill_response_bytes)", two),
        ["{customer=acme} 40@102 20@104"]
    );
}

#[test]
fn windows_can_be_longer_or_shorter_than_the_step() {
    let hour = "sum(sum_over_time(logmill_requests[1h]))";
    assert_eq!(told(hour, Grid { first: Minute(103), step: 1, count: 2 }), ["{} 4@103 6@104"]);
    let minute = "sum_over_time(logmill_requests[1m])";
    let apart = Grid { first: Minute(101), step: 3, count: 2 };
    assert_eq!(told(minute, apart), ["{customer=acme} 3@101 2@104"]);
    let before_1970 = Grid { first: Minute(0), step: 1, count: 1 };
    assert_eq!(told(minute, before_1970), ["{customer=acme} 0@0"]);
}

#[test]
fn series_are_told_apart_chosen_and_added_up() {
    let one = Grid { first: Minute(101), step: 1, count: 1 };
    let by_path = "{__name__=logmill_requests_by_path,customer=acme,path=";
    assert_eq!(
        told("logmill_requests_by_path", one),
        [format!("{by_path}GET /}} 2@101"), format!("{by_path}GET /pricing}} 1@101")]
    );
    for (matcher, paths) in [
        ("path=\"GET /\"", 1),
        ("path!=\"GET /\"", 1),
        ("path=~\"GET /.*\"", 2),
        ("path=~\"/\"", 0),
        ("path!~'GET /p.+'", 1),
        ("path=~\".*\", customer=\"acme\"", 2),
        ("nosuch=\"\"", 2),
        ("nosuch!=\"\"", 0),
        ("__name__=~\"logmill_.*\",", 2),
    ] {
        let query = format!("logmill_requests_by_path{{{matcher}}}");
        assert_eq!(told(&query, one).len(), paths, "{query}");
    }
    let kinds = ["{kind=client} 1@101 0@102 0@103 2@104", "{kind=person} 2@101 1@102 0@103 0@104"];
    assert_eq!(told("sum by (kind) (logmill_requests_by_user_agent)", MINUTES), kinds);
    assert_eq!(
        told("sum(sum(logmill_requests_by_user_agent) by (user_agent, kind)) by (kind)", MINUTES),
        kinds
    );
    assert_eq!(
        told("sum by (status) (logmill_requests_by_status{status=~\"4..\"})", MINUTES),
        ["{status=404} 1@101 0@102 0@103 2@104"]
    );
}

#[test]
fn the_largest_are_chosen_at_each_moment() {
    let families = "topk(1, sum by (user_agent) (logmill_requests_by_user_agent))";
    assert_eq!(
        told(families, MINUTES),
        ["{user_agent=Chrome} 2@101", "{user_agent=Firefox} 1@102", "{user_agent=curl} 2@104"]
    );
    assert_eq!(told(&format!("sum({families})"), MINUTES), ["{} 2@101 1@102 2@104"]);
}

proptest::proptest! {
    /// W2: whatever window and step, a value is what a count of the table says.
    #[test]
    fn sliding_windows_count_each_request(
        requests in proptest::collection::vec(0_u32..60, 0..40),
        first in 0_u32..60, step in 1_u32..9, count in 1_usize..9, window in 1_u32..30,
    ) {
        let table = Table(requests.iter().map(|minute| (*minute, "GET /", "curl")).collect());
        let query = format!("sum_over_time(logmill_requests_by_path[{window}m])");
        let plan = Plan::of(vector(&query).expect("valid")).expect("valid");
        let grid = Grid { first: Minute(first), step, count };
        let customer = CustomerId::new("acme").expect("valid");
        let series = evaluate(&table, &customer, &plan, grid).expect("it fits");
        let found = series.first().map(|series| series.samples.clone()).unwrap_or_default();
        let counted = grid.times().map(|at| {
            let within = |minute: &&u32| **minute < at.0 && at.0 <= **minute + window;
            (at, requests.iter().filter(within).count() as u64)
        });
        let counted: Vec<_> = counted.collect();
        if counted.iter().any(|(_, value)| *value > 0) {
            assert_eq!(found, counted);
        } else {
            assert!(found.iter().all(|(_, value)| *value == 0));
        }
    }

    /// Whatever is sent, it is parsed or refused.
    #[test]
    fn any_text_is_a_query_or_refused(text in "[a-z_(){}\\[\\]=~!\", 0-9.\\\\é+-]{0,40}") {
        if let Err(error) = parse(&text) {
            assert!(!error.0.is_empty());
        }
    }
}

#[test]
fn what_is_not_taken_is_said() {
    for (query, said) in [
        ("", "at character 1: expected a metric, found the end; of PromQL this takes"),
        ("rate(logmill_requests[5m])", "at character 5: expected the end, found \"(logmill"),
        ("sum(logmill_requests", "expected \")\", found the end"),
        ("logmill_requests[5m]", "at character 17: expected the end, found \"[5m]\""),
        ("logmill_requests > 5", "expected the end, found \"> 5\""),
        ("sum_over_time(logmill_requests[5x])", "expected a duration like 5m"),
        ("topk(0, logmill_requests)", "expected a whole number from 1 on"),
        ("logmill_requests{path=/}", "expected a string in quotes"),
        ("logmill_requests{path=\"a\\q\"}", "expected a string that ends"),
        ("logmill_requests{path=\"a}", "expected a string that ends"),
        ("logmill_requests{path=~\"(\"}", "path: the regular expression is not valid"),
        ("logmill_requests{path=~\"(a{999}){999}\"}", "not valid, or too large"),
        ("up", "there is no metric \"up\"; there are logmill_requests, "),
        ("{customer=\"acme\"}", "name a metric"),
        ("logmill_requests{__name__=\"logmill_late_requests\"}", "name one metric"),
        ("1+", "expected a number, found the end"),
        ("1.2.3", "expected a number"),
    ] {
        let said_of = |query| match parse(query)? {
            Query::Vector(vector) => Plan::of(vector).map(drop),
            Query::Number(_) => Ok(()),
        };
        let error = said_of(query).expect_err(query).0;
        assert!(error.contains(said), "{query}: {error}");
    }
    let deep = format!("{}logmill_requests{}", "(".repeat(40), ")".repeat(40));
    assert!(parse(&deep).expect_err("too deep").0.contains("nested too deeply"));
    let many = format!("logmill_requests{{{}}}", "path=\"/\",".repeat(9));
    assert!(parse(&many).expect_err("too many").0.contains("more than 8 matchers"));
    let long = "x".repeat(limits::PROMQL_BYTES_MAX + 1);
    assert!(parse(&long).expect_err("too long").0.contains("longer than"));
}

#[test]
fn numbers_add_up() {
    assert_eq!(parse("1+1"), Ok(Query::Number(2.0)));
    assert_eq!(parse(" 1.5 - 2 + 1 "), Ok(Query::Number(0.5)));
    let json = String::from_utf8(answer::scalar(Minute(1), 2.0)).expect("UTF-8");
    let expected = r#"{"status":"success","data":{"resultType":"scalar","result":[60,"2"]}}"#;
    assert_eq!(json, expected);
}

/// T1: a customer is named in full, once, or the query is refused.
#[test]
fn a_query_names_one_customer() {
    let customer = |matchers: &str| {
        let selector = parse_selector(&format!("logmill_requests{{{matchers}}}"))?;
        Scope::of(selector).map(|scope| scope.customer.map(|id| id.to_string()))
    };
    assert_eq!(customer(""), Ok(None));
    for (matchers, id) in [
        ("customer=\"acme\"", "acme"),
        ("customer=~\"acme\"", "acme"),
        (r#"customer=~"a\\.b""#, "a.b"),
        ("customer=\"a.b\",customer=~\"a\\\\.b\"", "a.b"),
    ] {
        assert_eq!(customer(matchers), Ok(Some(id.to_owned())), "{matchers}");
    }
    for matchers in [
        "customer=\"\"",
        "customer!=\"acme\"",
        "customer!~\"acme\"",
        "customer=~\"acme|beta\"",
        "customer=~\"a.me\"",
        "customer=~\".*\"",
        r#"customer=~"a\\w""#,
        "customer=\"acme\",customer=\"beta\"",
    ] {
        let error = customer(matchers).expect_err(matchers).0;
        assert!(error.contains("name one customer"), "{matchers}: {error}");
    }
}

#[test]
fn moments_are_whole_minutes_up_to_now() {
    let now = AcceptTime(1_000 * 60_000 + 30_000);
    let range = |start, end, step| Grid::range(start, end, step, now);
    let grid = |first, step, count| Ok(Grid { first: Minute(first), step, count });
    assert_eq!(range(600.0, 900.0, 1), grid(10, 1, 6));
    assert_eq!(range(600.5, 899.0, 1), grid(11, 1, 4));
    assert_eq!(range(600.0, 900.0, 2), grid(10, 2, 3));
    assert_eq!(range(601.0, 650.0, 1), grid(11, 1, 0));
    assert_eq!(range(59_940.0, 1e12, 1), grid(999, 1, 2), "nothing is after now");
    assert_eq!(range(-1e12, 60.0, 1), grid(0, 1, 2));
    assert_eq!(range(0.0, 60.0 * 999.0, 1).map(|grid| grid.count), Ok(1_000));
    assert!(range(60.0, 0.0, 1).is_err());
    let late = AcceptTime(2_000_000 * 60_000);
    let error = Grid::range(0.0, 60.0 * 11_000.0, 1, late).expect_err("a point too many").0;
    assert!(error.contains("11001 points, which is more than 11000; a step of 2m fits"), "{error}");
    assert!(Grid::range(0.0, 60.0 * 10_999.0, 1, late).is_ok());
    assert!(Grid::range(0.0, 60.0 * 11_000.0, 2, late).is_ok());
    assert_eq!(Grid::instant(119.9).first, Minute(1));
    assert_eq!(span(61.0, 1e12, now), Span { from: Minute(1), to: Minute(1_001) });
}

#[test]
fn times_and_steps_are_read_as_prometheus_does() {
    assert_eq!(parse_time("start", "1435781430.781"), Ok(1_435_781_430.781));
    assert_eq!(parse_time("start", "2015-07-01T20:10:30.781Z"), Ok(1_435_781_430.781));
    for bad in ["", "yesterday", "NaN", "inf"] {
        assert!(parse_time("start", bad).is_err(), "{bad}");
    }
    for (text, minutes) in
        [("15", 1), ("60", 1), ("61", 2), ("0.5", 1), ("5m", 5), ("1h30m", 90), ("1d", 1_440)]
    {
        assert_eq!(parse_step(text), Ok(minutes), "{text}");
    }
    for bad in ["", "0", "-5", "5 m", "m5", "5m1h", "5q", "1e99", "99y", "NaN"] {
        assert!(parse_step(bad).is_err(), "{bad}");
    }
    assert_eq!(duration_seconds("1y2w3d4h5m6s7ms"), Some(33_019_506.007));
}

/// L1: what an answer may hold is known before it is made.
#[test]
fn answers_are_bounded() {
    let paths: Vec<String> = (0..=limits::PROMETHEUS_SERIES_MAX).map(|n| format!("/{n}")).collect();
    let many: Vec<_> = paths.iter().map(|path| (0, &*path.clone().leak(), "curl")).collect();
    let table = Table(many);
    let customer = CustomerId::new("acme").expect("valid");
    let ask = |query: &str, count| {
        let plan = Plan::of(vector(query)?)?;
        let grid = Grid { first: Minute(1), step: 1, count };
        evaluate(&table, &customer, &plan, grid).map(|series| series.len())
    };
    let error = ask("logmill_requests_by_path", 1).expect_err("a series too many").0;
    assert!(error.contains("has 1001 series of 1 points; it may have 1000"), "{error}");
    assert_eq!(ask("topk(1000, logmill_requests_by_path)", 1), Ok(1_000));
    assert!(ask("topk(1000, logmill_requests_by_path)", 501).is_err());
    assert_eq!(ask("topk(1000, logmill_requests_by_path)", 500), Ok(1_000));
    let error = ask("sum_over_time(logmill_requests[100000m])", 2).expect_err("too long").0;
    assert!(error.contains("take 100001 parts, which is more than 50000"), "{error}");
    assert_eq!(ask("sum_over_time(logmill_requests[100000m])", 1), Ok(1));
    // Each of 1,001 series would be at 1,001 moments before the largest are chosen.
    let long = "topk(10, sum_over_time(logmill_requests_by_path[2000m]))";
    let error = ask(long, 1_001).expect_err("too many places").0;
    assert!(error.contains("needs more than 1000000 counts"), "{error}");
    assert_eq!(ask(long, 900), Ok(10));
}

#[test]
fn answers_are_written_as_prometheus_does() {
    let series = ask("logmill_requests{customer=\"acme\"}", MINUTES).expect("answered");
    let expected = r#"{"status":"success","data":{"resultType":"matrix","result":[{"metric":{"__name__":"logmill_requests","customer":"acme"},"values":[[6060,"3"],[6120,"1"],[6180,"0"],[6240,"2"]]}]}}"#;
    assert_eq!(String::from_utf8(answer::matrix(&series)).expect("UTF-8"), expected);
    let top =
        ask("topk(2, sum by (path) (logmill_requests_by_path))", Grid { count: 1, ..MINUTES });
    let json = answer::vector(&top.expect("answered"), true);
    let expected = r#"{"status":"success","data":{"resultType":"vector","result":[{"metric":{"path":"GET /"},"value":[6060,"2"]},{"metric":{"path":"GET /pricing"},"value":[6060,"1"]}]}}"#;
    assert_eq!(String::from_utf8(json).expect("UTF-8"), expected);
}

#[test]
fn every_metric_is_known_by_name_and_by_nothing_that_the_server_measures() {
    let mut names = BTreeMap::new();
    for metric in Metric::ALL {
        assert_eq!(Metric::of_name(metric.name()), Some(metric));
        assert!(names.insert(metric.name(), ()).is_none());
        assert!(metric.labels().contains(&CUSTOMER) && !metric.labels().contains(&NAME));
        let own = crate::telemetry::metrics::ALL.iter().all(|own| own.name != metric.name());
        assert!(own, "{} is in /metrics too", metric.name());
    }
}
