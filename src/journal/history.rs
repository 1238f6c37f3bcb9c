//! What archive and journal together still know: the groups that can be counted again.

use std::path::PathBuf;

use super::archive::{Archived, archived};
use super::reader::{Damage, FrameAt, archived_frames, scan_segments};
use crate::disk::{Disk, DiskResult, Layout};
use crate::ids::Group;

/// The longest run of groups, without a gap, that ends with the last one there is.
#[derive(Debug, Default)]
pub struct History {
    /// The first group of the run.
    pub first: Group,
    /// The last group of the run, and of all; 0 if there is none.
    pub last: Group,
    /// Where each group of the run is, in order.
    pub frames: Vec<FrameAt>,
    /// Archived segments that the run needs.
    pub archived: Vec<Archived>,
    /// Archived segments that do not hold what their names say.
    pub damaged: Vec<PathBuf>,
    /// Segments of the journal that do not say what they are.
    pub damage: Vec<Damage>,
}

impl History {
    /// Reads all of archive and journal; tells how many archived segments are read, of how many.
    ///
    /// # Errors
    /// If the disk cannot be read.
    pub fn read(disk: &dyn Disk, layout: &Layout, progress: &dyn Fn(u64, u64)) -> DiskResult<Self> {
        let mut history = Self::default();
        let all = archived(disk, layout)?;
        for (done, segment) in (1..).zip(&all) {
            let frames = archived_frames(disk, segment)?.unwrap_or_default();
            let groups = |frame: Option<&FrameAt>| frame.map(|frame| frame.group);
            if groups(frames.first()) == Some(segment.first)
                && groups(frames.last()) == Some(segment.last)
            {
                frames.into_iter().for_each(|frame| history.push(frame, Some(segment)));
            } else {
                history.damaged.push(segment.path.clone());
            }
            progress(done, all.len() as u64);
        }
        let mut found = scan_segments(disk, layout, history.last)?;
        found.frames.sort_by_key(|frame| frame.group);
        found.frames.into_iter().for_each(|frame| history.push(frame, None));
        history.damage = found.damage;
        history.first = history.frames.first().map_or(Group(0), |frame| frame.group);
        Ok(history)
    }

    /// Adds a group; one after a gap begins the run anew.
    fn push(&mut self, frame: FrameAt, segment: Option<&Archived>) {
        if frame.group <= self.last {
            return;
        }
        if frame.group != self.last.next() {
            self.frames.clear();
            self.archived.clear();
        }
        self.last = frame.group;
        self.frames.push(frame);
        if let Some(segment) = segment
            && self.archived.last() != Some(segment)
        {
            self.archived.push(segment.clone());
        }
    }
}
