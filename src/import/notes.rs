//! What the user is told of logs that are not what they were.

use std::io;
use std::path::Path;

use super::Import;
use super::cursor::{Cursor, Way};
use super::source::Source;

/// A log has less than was imported of it.
pub(super) fn cut(
    import: &mut Import<'_>,
    name: &str,
    has: u64,
    needs: u64,
    way: Way,
) -> io::Result<()> {
    import.summary.cut_logs += 1;
    let what = match way {
        Way::Imported => "it is an older copy or was cut; nothing of it is imported now",
        Way::Followed | Way::Finished => {
            "it lost its end, perhaps in a crash; followed from where it ends now"
        }
    };
    let text =
        format!("has {has} bytes, but {needs} were imported of a log that begins the same: {what}");
    import.reporter.note(name, &text)
}

/// The name stood for another log before, which was rotated, truncated or rewritten.
pub(super) fn other_beginning(import: &mut Import<'_>, source: &Source) -> io::Result<()> {
    let Some(before) = import.state.last_named(import.url, import.customer, &source.name) else {
        return Ok(());
    };
    let mut text = "begins with other content than at the last import (rotated, truncated or \
                    rewritten); imported from its start"
        .to_owned();
    if let Some(pending) = &before.pending {
        text.push_str(&format!(
            "\nhint: the last import stopped within bytes {} to {} of the earlier content; import \
             the file that has it now to complete it",
            pending.start, pending.end
        ));
    }
    import.reporter.note(&source.name, &text)
}

/// Nothing is left of a log that was followed.
pub(super) fn lost(import: &mut Import<'_>, home: &Path, cursor: &Cursor) -> io::Result<()> {
    import.summary.lost_logs += 1;
    let mut text = format!(
        "the log that was followed under this name is not there any more, nor in a file beside it \
         whose name goes on with . or -; whatever was written to it behind byte {} (line {}) is \
         not imported",
        cursor.end, cursor.lines
    );
    if let Some(pending) = &cursor.pending {
        text.push_str(&format!(
            "\nhint: bytes {} to {} were sent, but the answer was not seen; they may be counted or \
             not",
            pending.start, pending.end
        ));
    }
    text.push_str(
        "\nhint: if you still have it elsewhere, stop this import, import it from there with the \
         same --state, and start this one again",
    );
    import.reporter.note(&home.display().to_string(), &text)
}

/// A log is passed over until it changes.
pub(super) fn cannot_read(
    import: &mut Import<'_>,
    path: &Path,
    error: &io::Error,
) -> io::Result<()> {
    import.watch.again_when_changed(path);
    let text = format!("cannot be read until it changes: {error}");
    import.reporter.note(&path.display().to_string(), &text)
}
