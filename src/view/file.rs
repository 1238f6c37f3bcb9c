//! A file that is there whole or not at all.

use std::fs::{self, File, Permissions};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{self, Path, PathBuf};

use super::error::ViewError;

/// As many links in a row as Linux follows.
const LINKS_MAX: usize = 40;

/// Writes a file under its name when all of it is there; until then one of that name stays, and its
/// mode beyond. Where the name is a link, that is the file it leads to. A pipe or a device cannot
/// be replaced: what reads it gets each part as it comes.
///
/// # Errors
/// What `write` fails with, or [`ViewError::File`].
pub fn whole_file(
    path: &Path,
    write: impl FnOnce(&mut dyn Write) -> Result<(), ViewError>,
) -> Result<(), ViewError> {
    let failed = |source| ViewError::File { path: path.to_owned(), source };
    let written = |written: Result<(), ViewError>| match written {
        Err(ViewError::Output(source)) => Err(failed(source)),
        written => written,
    };
    let before = fs::metadata(path).ok();
    if before.as_ref().is_some_and(|before| !before.is_file()) {
        let mut file = BufWriter::new(File::options().write(true).open(path).map_err(failed)?);
        written(write(&mut file))?;
        return file.flush().map_err(failed);
    }
    let target = target(path).map_err(failed)?;
    let mode = before.as_ref().map_or(0o666, |before| before.permissions().mode() & 0o777);
    let file = tempfile::Builder::new()
        .prefix(".logmill-export-")
        .permissions(Permissions::from_mode(mode))
        .tempfile_in(target.parent().unwrap_or(&target))
        .map_err(failed)?;
    let mut buffered = BufWriter::new(file);
    written(write(&mut buffered))?;
    let file = buffered.into_inner().map_err(|error| failed(error.into_error()))?;
    // A new file has what the umask leaves of its mode; one that was there keeps all of it.
    if let Some(before) = before {
        file.as_file().set_permissions(before.permissions()).map_err(failed)?;
    }
    file.as_file().sync_all().map_err(failed)?;
    file.persist(&target).map_err(|error| failed(error.error))?;
    Ok(())
}

/// The name that is no link, there or not, to which a name leads.
fn target(path: &Path) -> io::Result<PathBuf> {
    let mut target = path::absolute(path)?;
    for _ in 0..LINKS_MAX {
        let Ok(link) = fs::read_link(&target) else { return Ok(target) };
        target.pop();
        target.push(link);
    }
    Err(io::Error::other("too many links lead on from there"))
}

#[cfg(test)]
mod tests {
    #![expect(clippy::disallowed_methods, reason = "tests make and read files")]

    use std::ffi::OsString;

    use super::*;

    #[test]
    fn a_file_is_there_whole_or_not_at_all() {
        let home = tempfile::tempdir().expect("a directory");
        let path = home.path().join("out.csv");
        let names = || {
            let entries = home.path().read_dir().expect("readable");
            entries.map(|entry| entry.expect("readable").file_name()).collect::<Vec<_>>()
        };
        let broken = whole_file(&path, |file| {
            file.write_all(b"half")?;
            Err(ViewError::TooLong)
        });
        assert!(matches!(broken, Err(ViewError::TooLong)), "{broken:?}");
        assert_eq!(names(), Vec::<OsString>::new());
        whole_file(&path, |file| Ok(file.write_all(b"whole")?)).expect("it can be written");
        assert_eq!(names(), ["out.csv"]);
        let missing = whole_file(&home.path().join("no/out.csv"), |_| Ok(()));
        assert!(matches!(missing, Err(ViewError::File { .. })), "{missing:?}");
    }

    fn export(path: &Path, text: &str) {
        whole_file(path, |file| Ok(file.write_all(text.as_bytes())?)).expect("it can be written");
    }

    #[test]
    fn a_file_keeps_its_mode() {
        let home = tempfile::tempdir().expect("a directory");
        // Less than most umasks leave, and more.
        for mode in [0o600, 0o666] {
            let path = home.path().join(format!("{mode:o}.csv"));
            fs::write(&path, "before").expect("written");
            fs::set_permissions(&path, Permissions::from_mode(mode)).expect("its owner may");
            export(&path, "after");
            let after = fs::metadata(&path).expect("it is there").permissions().mode() & 0o777;
            assert_eq!((after, fs::read_to_string(&path).expect("text")), (mode, "after".into()));
        }
    }

    #[test]
    fn a_link_stays_and_leads_to_the_file() {
        let home = tempfile::tempdir().expect("a directory");
        let (path, folder) = (|name| home.path().join(name), home.path().join("folder"));
        fs::create_dir(&folder).expect("a folder");
        // One to a link, one to what is not there yet.
        for (name, leads_to) in
            [("latest", "current"), ("current", "folder/out.csv"), ("new", "folder/new.csv")]
        {
            std::os::unix::fs::symlink(leads_to, path(name)).expect("a link");
        }
        export(&path("latest"), "first");
        export(&path("latest"), "second");
        export(&path("new"), "third");
        for name in ["latest", "current", "new"] {
            assert!(path(name).is_symlink(), "{name}");
        }
        let text = |name| fs::read_to_string(folder.join(name)).expect("it is there");
        assert_eq!((text("out.csv"), text("new.csv")), ("second".into(), "third".into()));
        std::os::unix::fs::symlink("circle", path("circle")).expect("a link");
        let circle = whole_file(&path("circle"), |_| Ok(()));
        assert!(matches!(circle, Err(ViewError::File { .. })), "{circle:?}");
    }

    #[test]
    fn a_pipe_is_written_as_it_comes() {
        let home = tempfile::tempdir().expect("a directory");
        let path = home.path().join("pipe");
        rustix::fs::mkfifoat(
            rustix::fs::CWD,
            &path,
            rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR,
        )
        .expect("a pipe");
        let reader = std::thread::spawn({
            let path = path.clone();
            move || fs::read_to_string(path).expect("text")
        });
        export(&path, "all of it");
        assert_eq!(reader.join().expect("no panic"), "all of it");
        assert!(!fs::metadata(&path).expect("it is there").is_file());
        let directory = whole_file(home.path(), |_| Ok(()));
        assert!(matches!(directory, Err(ViewError::File { .. })), "{directory:?}");
    }
}
