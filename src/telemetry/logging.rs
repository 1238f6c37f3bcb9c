//! Log lines on stderr through `tracing`: text for people on a terminal, JSON for machines
//! elsewhere.
//!
//! stdout belongs to data; nothing is ever logged there. Fields of an event stand at the top of its
//! JSON object, so events must not name a field `timestamp`, `level`, `message` or `target`.

use std::{env, io, io::IsTerminal as _};

use tracing::{Dispatch, dispatcher, subscriber::SetGlobalDefaultError};
use tracing_subscriber::{
    EnvFilter, filter,
    fmt::{MakeWriter, SubscriberBuilder},
};

use crate::config::{Log, LogFormat};

/// Why logging could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum LoggingError {
    /// `log.level` is not a filter. A validated configuration never gets here.
    #[error("log.level = {level}: {source}")]
    Level {
        /// The value.
        level: String,
        /// What is wrong with it.
        source: filter::ParseError,
    },
    /// Called twice in one process.
    #[error("logging is set up already")]
    Twice(#[from] SetGlobalDefaultError),
}

/// Sends the events of the whole process to stderr. To be called once, before anything is logged.
pub fn init(log: &Log) -> Result<(), LoggingError> {
    let terminal = io::stderr().is_terminal();
    // https://no-color.org: present and not empty, whatever its value.
    let no_color = env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let style = Style::choose(log.format, terminal, no_color);
    dispatcher::set_global_default(dispatch(log, style, io::stderr)?)?;
    Ok(())
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Style {
    Text { color: bool },
    Json,
}

impl Style {
    fn choose(format: LogFormat, terminal: bool, no_color: bool) -> Self {
        match format {
            LogFormat::Json => Self::Json,
            LogFormat::Auto if !terminal => Self::Json,
            LogFormat::Auto | LogFormat::Text => Self::Text { color: terminal && !no_color },
        }
    }
}

fn dispatch<W>(log: &Log, style: Style, writer: W) -> Result<Dispatch, LoggingError>
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let filter = EnvFilter::try_new(&log.level)
        .map_err(|source| LoggingError::Level { level: log.level.clone(), source })?;
    let builder = SubscriberBuilder::default().with_env_filter(filter).with_writer(writer);
    Ok(match style {
        Style::Text { color } => Dispatch::new(builder.with_ansi(color).finish()),
        Style::Json => {
            let json = builder.json().flatten_event(true).with_span_list(false);
            Dispatch::new(json.with_ansi(false).finish())
        }
    })
}

#[cfg(test)]
mod tests {
    use std::{
        io,
        sync::{Arc, Mutex},
    };

    use super::{Style, dispatch};
    use crate::config::{Log, LogFormat};

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().expect("no test panics while it writes").write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn logged(level: &str, style: Style) -> String {
        let lines = Lines::default();
        let writer = lines.clone();
        let log = Log { level: level.to_owned(), ..Log::default() };
        let dispatch = dispatch(&log, style, move || writer.clone()).expect("a valid level");
        tracing::dispatcher::with_default(&dispatch, || {
            tracing::info!(batches = 3, "ready");
            tracing::debug!("not at info");
        });
        let bytes = lines.0.lock().expect("no test panics while it writes").clone();
        String::from_utf8(bytes).expect("log lines are UTF-8")
    }

    #[test]
    fn json_is_one_flat_object_per_line() {
        let text = logged("info", Style::Json);
        assert_eq!(text.lines().count(), 1);
        let line: serde_json::Value = serde_json::from_str(&text).expect("a JSON object");
        assert_eq!(line["message"], "ready");
        assert_eq!(line["batches"], 3);
        assert_eq!(line["level"], "INFO");
    }

    #[test]
    fn text_has_colour_only_where_asked() {
        assert!(!logged("debug", Style::Text { color: false }).contains('\u{1b}'));
        assert!(logged("info", Style::Text { color: true }).contains('\u{1b}'));
        assert!(logged("logmill=debug", Style::Text { color: false }).contains("not at info"));
    }

    #[test]
    fn auto_follows_the_terminal() {
        let plain = Style::Text { color: false };
        assert_eq!(Style::choose(LogFormat::Auto, false, false), Style::Json);
        assert_eq!(Style::choose(LogFormat::Auto, true, false), Style::Text { color: true });
        assert_eq!(Style::choose(LogFormat::Auto, true, true), plain);
        assert_eq!(Style::choose(LogFormat::Text, false, false), plain);
        assert_eq!(Style::choose(LogFormat::Json, true, false), Style::Json);
    }

    #[test]
    fn a_bad_level_is_an_error_not_a_silent_default() {
        let log = Log { level: "logmill=loud".to_owned(), ..Log::default() };
        assert!(dispatch(&log, Style::Json, io::sink).is_err());
    }
}
