//! Bearer tokens: who may send for which customer, and read whose windows.
//!
//! The table of tokens is read from a file at start and again when the server is told to; a file
//! that is not right changes nothing. Deciding is pure: what HTTP calls it is `http::auth`'s.
//!
//! No token is kept: the table holds a keyed hash of each, and what a request presents is hashed
//! and looked up by that. How long it takes tells nothing of a token: whoever guesses one cannot
//! know the key, so that a guess that shares its beginning with a token has a hash that shares
//! nothing. Comparing hashes may then stop at the first byte that differs. For the same reason no
//! message repeats what stands in the file, and nothing here prints more of it than its size.

mod file;

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::fmt;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use hashbrown::HashMap;

use crate::config::{self, Config, MissingKey};
use crate::decode::{Formats, OnInvalid};
use crate::entropy::Entropy;
use crate::ids::CustomerId;

pub use file::Mistake;

/// The tokens that are in force.
pub struct Tokens {
    path: PathBuf,
    key: HashKey,
    /// What `format` can name.
    formats: Formats,
    /// Replaced as a whole. The lock is held to copy a pointer, never longer.
    table: RwLock<Arc<Table>>,
}

/// What hashes are keyed with; random, and gone with the process.
type HashKey = [u8; blake3::KEY_LEN];

/// Grants by the keyed hash of their token.
type Table = HashMap<[u8; blake3::OUT_LEN], Arc<Grant>>;

/// What a token allows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Grant {
    /// The customers it sends and reads for.
    pub customers: BTreeSet<CustomerId>,
    /// Whether it reads every customer.
    pub operator: bool,
    /// What its batches are, where a request does not say.
    pub defaults: Arc<SenderDefaults>,
}

/// How a sender's batches are taken where a request does not say.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SenderDefaults {
    /// What `?format=` would say.
    pub format: Option<String>,
    /// What `?key=` would say.
    pub key: Option<MissingKey>,
    /// What becomes of a batch with invalid entries.
    pub on_invalid: Option<OnInvalid>,
}

/// What a request is about to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Bring a batch.
    Send,
    /// Ask for windows.
    Read,
}

/// Why a token does not do for a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Denied {
    /// It is not for this customer. Whether there is such a customer plays no part in it.
    NotBound,
    /// It is not for exactly one customer, and the request names none.
    Unnamed,
}

impl Grant {
    /// The customer that a request is for, of whom it may name one.
    ///
    /// # Errors
    /// [`Denied`] if the grant is not for it.
    pub fn customer(
        &self,
        named: Option<CustomerId>,
        access: Access,
    ) -> Result<CustomerId, Denied> {
        let reads_all = self.operator && access == Access::Read;
        match named {
            Some(named) if reads_all || self.customers.contains(&named) => Ok(named),
            Some(_) => Err(Denied::NotBound),
            None if self.customers.is_empty() && !reads_all => Err(Denied::NotBound),
            None => {
                let mut customers = self.customers.iter();
                match (customers.next(), customers.next()) {
                    (Some(only), None) => Ok(only.clone()),
                    _ => Err(Denied::Unnamed),
                }
            }
        }
    }
}

impl Tokens {
    /// Reads the file.
    ///
    /// # Errors
    /// [`TokensError`] if it cannot be read, or anything in it is not right.
    pub fn open(path: &Path, formats: Formats, entropy: &dyn Entropy) -> Result<Self, TokensError> {
        let mut key = HashKey::default();
        for word in key.chunks_exact_mut(size_of::<u64>()) {
            word.copy_from_slice(&entropy.bits().to_le_bytes());
        }
        let table = RwLock::new(Arc::new(read(path, &formats, &key)?));
        Ok(Self { path: path.to_owned(), key, formats, table })
    }

    /// What the configured file says; `None` if there is none, and nobody is asked for a token.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn configured(config: &Config, entropy: &dyn Entropy) -> Result<Option<Self>, TokensError> {
        let path = &config.auth.tokens_file;
        if path.as_os_str().is_empty() {
            return Ok(None);
        }
        Self::open(path, config::formats(&config.formats), entropy).map(Some)
    }

    /// Reads the file again, all of it at once; requests see the tokens of before or of after.
    ///
    /// # Errors
    /// As [`Self::open`]; the tokens stay as they were.
    pub fn reload(&self) -> Result<(), TokensError> {
        let table = Arc::new(read(&self.path, &self.formats, &self.key)?);
        *self.table.write().unwrap_or_else(PoisonError::into_inner) = table;
        Ok(())
    }

    /// What the token allows that a request presents.
    #[must_use]
    pub fn find(&self, presented: &str) -> Option<Arc<Grant>> {
        self.table().get(&hash(&self.key, presented)).cloned()
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.table().len()
    }

    /// Where they were read from.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What an operator should hear of a file that is right otherwise.
    #[must_use]
    pub fn warning(&self) -> Option<String> {
        let mode = std::fs::metadata(&self.path).ok()?.permissions().mode() & 0o777;
        let path = self.path.display();
        let text = format!(
            "every user of this machine can read {path} (mode {mode:04o}); chmod 600 {path}"
        );
        (mode & 0o004 != 0).then_some(text)
    }

    fn table(&self) -> Arc<Table> {
        Arc::clone(&self.table.read().unwrap_or_else(PoisonError::into_inner))
    }
}

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (path, count) = (&self.path, self.count());
        f.debug_struct("Tokens").field("path", path).field("count", &count).finish_non_exhaustive()
    }
}

fn hash(key: &HashKey, token: &str) -> [u8; blake3::OUT_LEN] {
    *blake3::keyed_hash(key, token.as_bytes()).as_bytes()
}

fn read(path: &Path, formats: &Formats, key: &HashKey) -> Result<Table, TokensError> {
    let path = path.to_owned();
    match config::read_file(&path) {
        Ok(text) => match file::parse(&text, formats) {
            Ok(entries) => Ok(entries
                .into_iter()
                .map(|entry| (hash(key, &entry.token), Arc::new(entry.grant)))
                .collect()),
            Err(mistakes) => Err(TokensError::Invalid { path, mistakes }),
        },
        Err(reason) => Err(TokensError::Read { path, reason }),
    }
}

/// Why there are no tokens to go by.
#[derive(Debug, thiserror::Error)]
pub enum TokensError {
    /// The file cannot be read.
    #[error("cannot read the tokens file {}: {reason}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        reason: std::io::Error,
    },
    /// What stands in it is not right: all of it, not the first mistake only.
    #[error("the tokens file {} is not right\n{}", path.display(), lines(mistakes))]
    Invalid {
        /// The file.
        path: PathBuf,
        /// At least one, by line.
        mistakes: Vec<Mistake>,
    },
}

impl TokensError {
    /// What a person should do.
    #[must_use]
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Read { .. } => {
                "set auth.tokens_file to a file that logmill may read, or to \"\" to ask nobody for \
                 a token"
            }
            Self::Invalid { .. } => "mend the file; `logmill config check` looks at it too",
        }
    }
}

fn lines(mistakes: &[Mistake]) -> String {
    let lines: Vec<String> = mistakes.iter().map(|mistake| format!("  {mistake}")).collect();
    lines.join("\n")
}
