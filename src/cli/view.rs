//! `logmill top`, `series`, `tail` and `export`: their flags, which are the parameters of the HTTP
//! API, and how they end.

use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use clap::builder::RangedU64ValueParser;
use clap::{Args, Subcommand, ValueEnum};

use super::healthcheck::base_url;
use super::{Exit, server_url, signals};
use crate::ids::CustomerId;
use crate::import::Token;
use crate::limits;
use crate::view::{self, Form, Question, Screen, Server, ViewError};

const TOP_EXAMPLES: &str = "\
Examples:
  logmill top --customer acme --from -24h
  logmill top --customer acme --by userAgent --kind ai --from -7d
  logmill top --customer acme --path-prefix /api/ --limit 50 --json | jq '.top[].key'";

const SERIES_EXAMPLES: &str = "\
Examples:
  logmill series --customer acme
  logmill series --customer acme --from -7d --window-size hour --split kind
  logmill series --customer acme --from -30d --window-size day --timezone Europe/Berlin";

const TAIL_EXAMPLES: &str = "\
Examples:
  logmill tail --customer acme
  logmill tail --customer acme --path-prefix /api/
  logmill tail --customer acme --json | jq .requests

+ is a new minute, ~ one that has changed. On a terminal the minute at hand grows in its line. A
server that is away is waited for. Ctrl-C ends it.";

const EXPORT_EXAMPLES: &str = "\
Examples:
  logmill export --customer acme --from 2026-11-01T00:00:00Z --format csv --output november.csv
  logmill export series --customer acme --from -90d --window-size day --format csv
  logmill export top --customer acme --by path --from -7d | head

--output has the file whole or not at all; a pipe or a device gets it as it comes. Without --limit,
all keys of top are exported.";

/// What can be looked at.
#[derive(Clone, Debug, PartialEq, Eq, Subcommand)]
pub enum ViewCommand {
    /// Show a customer's most frequent paths, user agents or kinds of them
    Top(TopArgs),
    /// Draw a customer's requests over time
    Series(SeriesArgs),
    /// Print new and changed minutes as they come
    Tail(TailArgs),
    /// Copy windows, a series or a top list, all pages of it, as CSV or NDJSON
    Export(ExportArgs),
}

/// The server that is asked, and for whom.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
struct Asked {
    /// Whose requests; not needed with a token for one customer
    #[arg(long, value_name = "ID", value_parser = CustomerId::new)]
    customer: Option<CustomerId>,

    /// Server to ask [default: the configured server.listen, on this machine]
    #[arg(long, value_name = "URL", value_parser = server_url)]
    url: Option<String>,

    /// Bearer token; the variable hides it from others
    #[arg(long, env = "LOGMILL_TOKEN", hide_env_values = true, value_parser = Token::new)]
    token: Option<Token>,
}

/// When.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
struct Range {
    /// First time: RFC 3339, or -90m, -24h, -7d, -2w [default: 60 windows ago]
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    from: Option<String>,

    /// Time to end before [default: the end of the window at hand]
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    to: Option<String>,

    /// Where days begin, as Europe/Berlin [default: UTC]
    #[arg(long, value_name = "NAME")]
    timezone: Option<String>,
}

/// Which of the requests; at most one of these.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
#[group(multiple = false)]
struct Filter {
    /// Only this path, with its method or without
    #[arg(long, value_name = "PATH")]
    path: Option<String>,

    /// Only paths that begin so
    #[arg(long, value_name = "PATH")]
    path_prefix: Option<String>,

    /// Only this family, as Chrome
    #[arg(long, value_name = "NAME")]
    user_agent: Option<String>,

    /// Only person, bot, ai, crawler, monitor, client or unknown
    #[arg(long, value_name = "KIND")]
    kind: Option<String>,
}

/// `logmill top`
#[derive(Args, Clone, Debug, PartialEq, Eq)]
#[command(after_help = TOP_EXAMPLES)]
pub struct TopArgs {
    #[command(flatten)]
    asked: Asked,

    #[command(flatten)]
    range: Range,

    /// path, userAgent or kind [default: path, or what the filter is about]
    #[arg(long, value_name = "WHAT")]
    by: Option<String>,

    /// Rows
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = rows())]
    limit: u32,

    /// Period to compare with: previous, or none
    #[arg(long, value_name = "PERIOD", default_value = "previous", hide_possible_values = true)]
    compare: Compare,

    #[command(flatten)]
    filter: Filter,

    /// Print the server's JSON
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Compare {
    Previous,
    None,
}

/// `logmill series`
#[derive(Args, Clone, Debug, PartialEq, Eq)]
#[command(after_help = SERIES_EXAMPLES)]
pub struct SeriesArgs {
    #[command(flatten)]
    asked: Asked,

    #[command(flatten)]
    range: Range,

    /// minute, hour or day
    #[arg(long, value_name = "SIZE", default_value = "minute")]
    window_size: String,

    /// A row for each of the most frequent: path, userAgent or kind
    #[arg(long, value_name = "WHAT")]
    split: Option<String>,

    /// Rows with --split [default: 10]
    #[arg(long, value_name = "N", requires = "split")]
    limit: Option<u32>,

    #[command(flatten)]
    filter: Filter,

    /// Print the server's JSON, all pages as one
    #[arg(long)]
    json: bool,
}

/// `logmill tail`
#[derive(Args, Clone, Debug, PartialEq, Eq)]
#[command(after_help = TAIL_EXAMPLES)]
pub struct TailArgs {
    #[command(flatten)]
    asked: Asked,

    /// Minutes that are watched
    #[arg(long, value_name = "N", default_value_t = 10,
          value_parser = RangedU64ValueParser::<u32>::new().range(1..=1_440))]
    minutes: u32,

    /// Times in this zone, as Europe/Berlin [default: UTC]
    #[arg(long, value_name = "NAME")]
    timezone: Option<String>,

    #[command(flatten)]
    filter: Filter,

    /// Print JSON, one window a line
    #[arg(long)]
    json: bool,
}

/// `logmill export`
#[derive(Args, Clone, Debug, PartialEq, Eq)]
#[command(after_help = EXPORT_EXAMPLES)]
pub struct ExportArgs {
    /// What to export
    #[arg(value_name = "WHAT", default_value = "windows")]
    what: What,

    #[command(flatten)]
    asked: Asked,

    #[command(flatten)]
    range: Range,

    /// csv or ndjson
    #[arg(long, value_name = "FORMAT", default_value = "ndjson")]
    format: Format,

    /// Print one JSON document instead
    #[arg(long, conflicts_with = "format")]
    json: bool,

    /// File to write instead of stdout
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,

    /// Of windows and series: minute, hour or day [default: minute]
    #[arg(long, value_name = "SIZE")]
    window_size: Option<String>,

    /// Of top: path, userAgent or kind
    #[arg(long, value_name = "WHAT")]
    by: Option<String>,

    /// Of series: path, userAgent or kind
    #[arg(long, value_name = "WHAT")]
    split: Option<String>,

    /// Of top: previous
    #[arg(long, value_name = "PERIOD")]
    compare: Option<String>,

    /// Rows of top, or keys of a series with --split
    #[arg(long, value_name = "N", value_parser = rows())]
    limit: Option<u32>,

    #[command(flatten)]
    filter: Filter,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum What {
    Windows,
    Series,
    Top,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    Csv,
    Ndjson,
}

fn rows() -> RangedU64ValueParser<u32> {
    RangedU64ValueParser::new().range(1..=limits::TOP_ROWS_MAX as u64)
}

/// Does what the command says; asks the server that `listen` means on this machine without `--url`.
///
/// Exit code 1 if the server is away or fails, 2 if it refuses what is asked.
pub fn run(command: &ViewCommand, listen: SocketAddr, out: &mut impl Write) -> Exit {
    let screen = Screen::of_stdout();
    let shown = match command {
        ViewCommand::Top(args) => {
            let server = args.asked.server(listen);
            view::top(&server, &args.question(), args.json, screen, out)
        }
        ViewCommand::Series(args) => {
            let (server, now) = (args.asked.server(listen), jiff::Timestamp::now());
            view::series(&server, &args.question(), args.json, (screen, now), out)
        }
        ViewCommand::Tail(args) => args.run(listen, screen, out),
        ViewCommand::Export(args) => args.run(listen, screen, out),
    };
    match shown {
        Ok(()) => Exit::Ok,
        Err(error) if error.is_broken_pipe() => Exit::Ok,
        Err(error) => {
            let mut err = io::stderr().lock();
            writeln!(err, "error: {error}").ok();
            if let Some(hint) = error.hint() {
                writeln!(err, "hint: {hint}").ok();
            }
            if error.is_usage() { Exit::Usage } else { Exit::Findings }
        }
    }
}

impl ViewCommand {
    /// As it is written.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Top(_) => "top",
            Self::Series(_) => "series",
            Self::Tail(_) => "tail",
            Self::Export(_) => "export",
        }
    }
}

impl Asked {
    fn server(&self, listen: SocketAddr) -> Server {
        let url = self.url.clone().unwrap_or_else(|| base_url(listen));
        let customer = self.customer.as_ref().map(ToString::to_string);
        view::server(url, customer, self.token.as_ref())
    }
}

impl Range {
    fn ask(&self, question: Question) -> Question {
        question
            .with("from", self.from.as_ref())
            .with("to", self.to.as_ref())
            .with("timezone", self.timezone.as_ref())
    }
}

impl Filter {
    fn ask(&self, question: Question) -> Question {
        question
            .with("path", self.path.as_ref())
            .with("pathPrefix", self.path_prefix.as_ref())
            .with("userAgent", self.user_agent.as_ref())
            .with("kind", self.kind.as_ref())
    }
}

impl TopArgs {
    fn question(&self) -> Question {
        let compare = (self.compare == Compare::Previous).then_some("previous");
        let question = self.range.ask(Question::new("/analytics/top"));
        let question = question.with("by", self.by.as_ref()).with("limit", Some(self.limit));
        self.filter.ask(question.with("compare", compare))
    }
}

impl SeriesArgs {
    fn question(&self) -> Question {
        let question = self.range.ask(Question::new("/analytics/series"));
        let question = question.with("windowSize", Some(&self.window_size));
        let question = question.with("split", self.split.as_ref()).with("limit", self.limit);
        self.filter.ask(question)
    }
}

impl TailArgs {
    fn question(&self) -> Question {
        let from = format!("-{}m", self.minutes);
        let question = Question::new("/analytics/series").with("from", Some(from));
        self.filter.ask(question.with("timezone", self.timezone.as_ref()))
    }

    fn run(
        &self,
        listen: SocketAddr,
        screen: Screen,
        out: &mut impl Write,
    ) -> Result<(), ViewError> {
        let stop: Arc<AtomicBool> = Arc::default();
        let ask = Arc::clone(&stop);
        signals::ask_at_first(move || ask.store(true, Ordering::Relaxed))?;
        let (server, question) = (self.asked.server(listen), self.question());
        let err = &mut io::stderr().lock();
        view::tail(&server, &question, self.json, screen, &stop, (out, err))
    }
}

impl ExportArgs {
    fn question(&self) -> Question {
        let route = match self.what {
            What::Windows => "/analytics",
            What::Series => "/analytics/series",
            What::Top => "/analytics/top",
        };
        // The more rows in a page, the fewer times all of them are counted.
        let all_rows = (self.what == What::Top).then_some(limits::TOP_ROWS_MAX);
        let question = self.range.ask(Question::new(route));
        let question = question
            .with("windowSize", self.window_size.as_ref())
            .with("by", self.by.as_ref())
            .with("split", self.split.as_ref())
            .with("compare", self.compare.as_ref())
            .with("limit", self.limit.map(|limit| limit as usize).or(all_rows));
        self.filter.ask(question)
    }

    fn run(
        &self,
        listen: SocketAddr,
        screen: Screen,
        out: &mut impl Write,
    ) -> Result<(), ViewError> {
        let form = match self.format {
            _ if self.json => Form::Json,
            Format::Csv => Form::Csv,
            Format::Ndjson => Form::Ndjson,
        };
        let all_pages = !(self.what == What::Top && self.limit.is_some());
        let (server, question) = (self.asked.server(listen), self.question());
        let Some(path) = &self.output else {
            return view::export(&server, &question, (form, all_pages), screen, out);
        };
        let screen = Screen { is_terminal: false, is_coloured: false, ..screen };
        view::whole_file(path, |file| {
            view::export(&server, &question, (form, all_pages), screen, file)
        })
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    use super::*;
    use crate::cli::{Command, parse};

    fn command(text: &str) -> Result<ViewCommand, clap::Error> {
        let words = std::iter::once("logmill").chain(text.split_whitespace());
        match parse(words.map(OsString::from))?.command {
            Command::View(command) => Ok(command),
            other => panic!("not a view: {other:?}"),
        }
    }

    fn asked(text: &str) -> Question {
        match command(text).expect("a valid command line") {
            ViewCommand::Top(args) => args.question(),
            ViewCommand::Series(args) => args.question(),
            ViewCommand::Tail(args) => args.question(),
            ViewCommand::Export(args) => args.question(),
        }
    }

    #[test]
    fn flags_are_parameters() {
        let top = Question::new("/analytics/top").with("from", Some("-24h"));
        let top = top.with("timezone", Some("Europe/Berlin")).with("by", Some("userAgent"));
        let top = top.with("limit", Some(5)).with("kind", Some("ai"));
        let text = "top --customer acme --from -24h --timezone Europe/Berlin --by userAgent \
                    --limit 5 --compare none --kind ai";
        assert_eq!(asked(text), top);

        let series = Question::new("/analytics/series").with("to", Some("now"));
        let series = series.with("windowSize", Some("hour")).with("split", Some("path"));
        let series = series.with("limit", Some(3)).with("pathPrefix", Some("/api/"));
        let text = "series --to now --window-size hour --split path --limit 3 --path-prefix /api/";
        assert_eq!(asked(text), series);

        let tail = Question::new("/analytics/series").with("from", Some("-3m"));
        assert_eq!(asked("tail --minutes 3"), tail);
        let all = Question::new("/analytics/top").with("limit", Some(limits::TOP_ROWS_MAX));
        assert_eq!(asked("export top"), all);
        assert_eq!(asked("export"), Question::new("/analytics"));
    }

    #[test]
    fn wrong_usage_ends_with_2() {
        for text in [
            "top --limit 0",
            "top --limit 1001",
            "top --compare next",
            "top --path /a --kind ai",
            "series --limit 3",
            "tail --minutes 0",
            "tail --from -1h",
            "export dead-letters",
            "export --format xml",
            "export --format csv --json",
        ] {
            assert_eq!(command(text).expect_err(text).exit_code(), 2, "{text}");
        }
        for text in ["top --help", "series --help", "tail --help", "export --help"] {
            let help = command(text).expect_err("help").to_string();
            assert!(help.lines().all(|line| line.len() <= 100), "{help}");
        }
    }
}
