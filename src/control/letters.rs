//! Dead letters of a running server: told, counted after all, or dropped.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;

use super::{Controller, Fate, Letter, Reply, Which};
use crate::decode::{self, Format, Formats, OnInvalid, Rules};
use crate::engine::{Engine, Stopped};
use crate::ids::{ContentDigest, CustomerId, IdempotencyKey, RequestId};
use crate::limits;
use crate::paths::PathRules;
use crate::sequencer::{Outcome, Submission};
use crate::store::{FrozenStore, LetterId, StoreError, StoredLetter};
use crate::telemetry::metrics::{self, LetterEnd};
use crate::user_agent::AgentCache;

/// How bodies are read in the running server.
#[derive(Debug)]
pub struct Decoding {
    /// All formats by name.
    pub formats: Formats,
    /// Which paths count as one.
    pub paths: Arc<PathRules>,
}

/// Why it could not be done.
#[derive(Debug, thiserror::Error)]
pub(super) enum LettersError {
    #[error("the server is stopping")]
    Stopped,
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("{0}")]
    Asked(String),
}

impl From<Stopped> for LettersError {
    fn from(_: Stopped) -> Self {
        Self::Stopped
    }
}

/// Is told of each letter. False means that nobody listens any more.
type Tell<'t> = &'t dyn Fn(Reply) -> bool;

impl Controller {
    /// Tells each letter that is meant.
    pub(super) fn list(&self, which: &Which, tell: Tell<'_>) -> Result<(), LettersError> {
        let frozen = self.engine.settle()?;
        Wanted::new(which)?
            .each(&frozen, |letter| Ok(tell(Reply::Letter(Box::new(Letter::of(letter, None))))))
    }

    /// Removes each letter that is meant, and tells which.
    pub(super) fn drop_letters(&self, which: &Which, tell: Tell<'_>) -> Result<(), LettersError> {
        let frozen = self.engine.settle()?;
        let mut dropped = Removal::new(&self.engine, LetterEnd::Dropped);
        Wanted::new(which)?.each(&frozen, |letter| {
            dropped.push(letter.id.clone())?;
            tell(Reply::Letter(Box::new(Letter::of(letter, Some(Fate::Dropped)))));
            Ok(true)
        })?;
        dropped.finish()
    }

    /// Counts each letter that is meant and is valid now, once however often this is asked, and
    /// removes it; tells what became of each.
    pub(super) fn replay(
        &self,
        which: &Which,
        format: Option<&str>,
        tell: Tell<'_>,
    ) -> Result<(), LettersError> {
        if let Some(name) = format.filter(|name| self.decoding.formats.get(name).is_none()) {
            return Err(LettersError::Asked(format!("there is no format {name}")));
        }
        let frozen = self.engine.settle()?;
        let mut agents = AgentCache::new();
        let mut counted = Removal::new(&self.engine, LetterEnd::Replayed);
        Wanted::new(which)?.each(&frozen, |letter| {
            let fate = self.count(letter, format, &mut agents)?;
            if !matches!(fate, Fate::Left(_)) {
                counted.push(letter.id.clone())?;
            }
            tell(Reply::Letter(Box::new(Letter::of(letter, Some(fate)))));
            Ok(true)
        })?;
        counted.finish()
    }

    /// Submits a letter as a batch of its own; says why it cannot.
    fn count(
        &self,
        letter: &StoredLetter,
        format: Option<&str>,
        agents: &mut AgentCache,
    ) -> Result<Fate, LettersError> {
        let invalid = |reason: String| Ok(Fate::Left(format!("still invalid: {reason}")));
        let name = format.unwrap_or(&letter.format);
        let Some(fields) = self.decoding.formats.get(name) else {
            return Ok(Fate::Left(format!("there is no format {name} any more")));
        };
        let format = Format { framing: letter.framing, fields: fields.clone() };
        let rules = Rules { on_invalid: OnInvalid::Reject, paths: &self.decoding.paths };
        let decoded = match decode::decode(&format, &letter.body, rules, agents) {
            // By another format it might be more.
            Ok(decoded) if decoded.summary.entries != 1 => {
                return invalid(format!("it is {} entries", decoded.summary.entries));
            }
            Ok(decoded) => decoded,
            Err(decode::DecodeError::Entries { listed, .. }) => {
                let why = listed.first().map(ToString::to_string);
                return invalid(why.unwrap_or_default());
            }
            Err(error) => return invalid(error.to_string()),
        };
        let submission = |reply| Submission {
            customer: letter.id.customer.clone(),
            key: IdempotencyKey::replayed(letter.id.group, letter.id.place, letter.id.index),
            digest: ContentDigest::of(format.id(), &letter.body),
            request_id: RequestId::from_header(&letter.request_id)
                .unwrap_or_else(|| RequestId::from_random(0)),
            record: decoded.summary.to_bytes(),
            summary: decoded.summary.clone(),
            dead: decoded.dead.clone(),
            dead_record: Vec::new(),
            permit: Box::new(()),
            reply,
        };
        loop {
            let (reply, outcome) = oneshot::channel();
            if self.engine.submit(submission(reply)).is_ok() {
                return match outcome.blocking_recv().map_err(|_| LettersError::Stopped)? {
                    Outcome::Accepted(receipt) => {
                        metrics::accepted(receipt.entries, letter.body.len());
                        Ok(Fate::Counted)
                    }
                    // Of other content is what was counted by another format.
                    Outcome::Duplicate(_) | Outcome::Conflict => Ok(Fate::CountedBefore),
                    Outcome::Unreadable => Ok(Fate::Left("its key cannot be read".into())),
                    Outcome::NoSpace => Ok(Fate::Left("the disk is full".into())),
                };
            }
            // The inbox is full, and it is emptied all the time.
            std::thread::sleep(RETRY);
        }
    }
}

const RETRY: Duration = Duration::from_millis(10);

/// Letters that were asked for.
struct Wanted {
    customer: Option<CustomerId>,
    ids: Vec<LetterId>,
}

impl Wanted {
    fn new(which: &Which) -> Result<Self, LettersError> {
        let customer = which.customer.as_deref().map(CustomerId::new).transpose();
        let customer = customer.map_err(|error| LettersError::Asked(error.to_string()))?;
        let ids: Result<_, _> = which.ids.iter().map(|id| id.parse()).collect();
        Ok(Self { customer, ids: ids.map_err(LettersError::Asked)? })
    }

    /// Hands on each, until one is the last that is wanted. A name of none is a mistake.
    fn each(
        &self,
        frozen: &FrozenStore,
        mut each: impl FnMut(&StoredLetter) -> Result<bool, LettersError>,
    ) -> Result<(), LettersError> {
        for id in &self.ids {
            let letter = frozen.letter(id)?;
            let letter = letter.ok_or_else(|| {
                LettersError::Asked(format!(
                    "there is no dead letter {id}; none after it was looked at"
                ))
            })?;
            if !each(&letter)? {
                return Ok(());
            }
        }
        if !self.ids.is_empty() {
            return Ok(());
        }
        let mut after = None;
        loop {
            let max = limits::LETTERS_PER_READ;
            let letters = frozen.letters(self.customer.as_ref(), after.as_ref(), max)?;
            for letter in &letters {
                if !each(letter)? {
                    return Ok(());
                }
            }
            match letters.last() {
                Some(last) if letters.len() == max => after = Some(last.id.clone()),
                _ => return Ok(()),
            }
        }
    }
}

/// Letters on their way out of the store, some at a time.
struct Removal<'e> {
    engine: &'e Engine,
    end: LetterEnd,
    ids: Vec<LetterId>,
}

impl<'e> Removal<'e> {
    fn new(engine: &'e Engine, end: LetterEnd) -> Self {
        Self { engine, end, ids: Vec::new() }
    }

    fn push(&mut self, id: LetterId) -> Result<(), LettersError> {
        self.ids.push(id);
        if self.ids.len() >= limits::LETTERS_PER_READ { self.remove() } else { Ok(()) }
    }

    fn remove(&mut self) -> Result<(), LettersError> {
        let removed = self.engine.remove_letters(std::mem::take(&mut self.ids))?;
        metrics::letters_ended(self.end, removed);
        Ok(())
    }

    fn finish(mut self) -> Result<(), LettersError> {
        if self.ids.is_empty() { Ok(()) } else { self.remove() }
    }
}
