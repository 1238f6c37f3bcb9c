//! A file that is there whole or not at all.

use std::fs::Permissions;
use std::io::{BufWriter, Write};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{self, Path};

use super::ask::ViewError;

/// Writes a file under its name when all of it is there; until then one of that name stays.
///
/// # Errors
/// What `write` fails with, or [`ViewError::File`].
pub fn whole_file(
    path: &Path,
    write: impl FnOnce(&mut dyn Write) -> Result<(), ViewError>,
) -> Result<(), ViewError> {
    let failed = |source| ViewError::File { path: path.to_owned(), source };
    let absolute = path::absolute(path).map_err(failed)?;
    let directory = absolute.parent().unwrap_or(&absolute);
    let file = tempfile::Builder::new()
        .prefix(".logmill-export-")
        .permissions(Permissions::from_mode(0o666))
        .tempfile_in(directory)
        .map_err(failed)?;
    let mut buffered = BufWriter::new(file);
    match write(&mut buffered) {
        Err(ViewError::Output(source)) => return Err(failed(source)),
        written => written?,
    }
    let file = buffered.into_inner().map_err(|error| failed(error.into_error()))?;
    file.as_file().sync_all().map_err(failed)?;
    file.persist(&absolute).map_err(|error| failed(error.error))?;
    Ok(())
}

#[cfg(test)]
mod tests {
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
}
