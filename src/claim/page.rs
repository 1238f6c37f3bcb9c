//! Bytes of claim pages; see the module's header for the layout.

#[cfg(any(test, fuzzing))]
pub(super) mod fuzz;

use std::io::ErrorKind;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::sync::{Arc, LazyLock};

use blake3::hazmat::{ContextKey, HasherExt, hash_derive_key_context};
use hashbrown::{HashMap, HashSet};
use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

use crate::disk::{Disk, DiskFile, DiskResult, Layout, PageId};
use crate::fields::{u32_at, u64_at, u128_at};
use crate::ids::{ContentDigest, Group, Incarnation};
use crate::limits;

const PAGE_MAGIC: u64 = u64::from_le_bytes(*b"LOGMCLM1");
const GIVEN_UP_MAGIC: u64 = u64::from_le_bytes(*b"LOGMCLM-");
pub(super) const PAGE_HEADER_BYTES: usize = 40;
const ENTRY_HEADER_BYTES: usize = 64;
const CHECKSUM_AT: usize = 8;
const CHECKED_FROM: usize = 16;
/// Says what the hashed bytes are for, so that no other hash of the same bytes is the same.
const CLAIM_DOMAIN: &str = "logmill 2026 idempotency claim";

/// What the answer to an accepted batch says of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Receipt {
    /// Entries in the batch.
    pub entries: u32,
    /// Minutes it touched.
    pub windows: u32,
}

/// A key that is to be claimed, and for what.
#[derive(Debug, Clone, Copy)]
pub struct Claim<'a> {
    customer: &'a str,
    key: &'a str,
    pub(super) digest: ContentDigest,
    receipt: Receipt,
    pub(super) name: u128,
}

impl<'a> Claim<'a> {
    /// A claim of a customer's key for a batch of this content, which is answered so.
    #[must_use]
    pub fn new(customer: &'a str, key: &'a str, digest: ContentDigest, receipt: Receipt) -> Self {
        Self { customer, key, digest, receipt, name: name_of(customer, key) }
    }

    /// The number that its file name is made of.
    #[cfg(test)]
    pub(crate) fn name(&self) -> u128 {
        self.name
    }

    fn bytes(&self) -> usize {
        ENTRY_HEADER_BYTES + self.customer.len() + self.key.len()
    }
}

fn bytes_of(claims: &[Claim<'_>]) -> usize {
    claims.iter().map(Claim::bytes).sum()
}

/// A claim's name: 128 bits of blake3 over domain, customer and key, each with its length (T1).
fn name_of(customer: &str, key: &str) -> u128 {
    static CONTEXT: LazyLock<ContextKey> = LazyLock::new(|| hash_derive_key_context(CLAIM_DOMAIN));
    let mut hasher = blake3::Hasher::new_from_context_key(&CONTEXT);
    for part in [customer, key] {
        hasher.update(&(part.len() as u64).to_le_bytes());
        hasher.update(part.as_bytes());
    }
    let mut name = [0; 16];
    hasher.finalize_xof().fill(&mut name);
    u128::from_be_bytes(name)
}

/// What a page says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct PageHeader {
    pub(super) id: PageId,
    /// Uptime of the server, over all its lives, when the page was made.
    pub(super) created_uptime_ms: u64,
}

impl PageHeader {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(PAGE_HEADER_BYTES);
        let id = self.id;
        for field in [PAGE_MAGIC, id.incarnation.0, id.number, self.created_uptime_ms] {
            bytes.extend(field.to_le_bytes());
        }
        bytes.extend(xxh3_64(&bytes).to_le_bytes());
        bytes
    }

    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let field = |n: usize| u64_at(bytes, n * 8);
        if field(0)? != PAGE_MAGIC || field(4)? != xxh3_64(&bytes[..PAGE_HEADER_BYTES - 8]) {
            return None;
        }
        let id = PageId { incarnation: Incarnation(field(1)?), number: field(2)? };
        Some(Self { id, created_uptime_ms: field(3)? })
    }

    /// Says in place of a header that nothing on the page counts.
    pub(super) fn give_up(file: &dyn DiskFile) -> DiskResult<()> {
        file.write_at(0, &GIVEN_UP_MAGIC.to_le_bytes())
    }

    /// Whether the page was given up.
    pub(super) fn is_given_up(file: &dyn DiskFile) -> DiskResult<bool> {
        let mut magic = [0; 8];
        match file.read_at(0, &mut magic) {
            Err(error) if error.source.kind() == ErrorKind::UnexpectedEof => Ok(false),
            read => read.map(|()| u64::from_le_bytes(magic) == GIVEN_UP_MAGIC),
        }
    }

    /// Reads the header of the page that a name or a page file leads to.
    pub(super) fn read(file: &dyn DiskFile) -> DiskResult<Option<Self>> {
        let mut bytes = [0; PAGE_HEADER_BYTES];
        match file.read_at(0, &mut bytes) {
            // A page is made whole: somebody has cut it short.
            Err(error) if error.source.kind() == ErrorKind::UnexpectedEof => Ok(None),
            read => read.map(|()| Self::decode(&bytes)),
        }
    }
}

/// An entry of a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Entry<'a> {
    pub(super) group: Group,
    pub(super) name: u128,
    pub(super) digest: ContentDigest,
    pub(super) receipt: Receipt,
    pub(super) customer: &'a str,
    pub(super) key: &'a str,
}

/// Appends an entry to `bytes`.
pub(super) fn encode_entry(
    bytes: &mut Vec<u8>,
    claim: &Claim<'_>,
    group: Group,
    incarnation: Incarnation,
) {
    let short = |text: &str| u8::try_from(text.len()).expect("checked when the id was made");
    let start = bytes.len();
    bytes.extend(u32::try_from(claim.bytes()).expect("an entry is short").to_le_bytes());
    bytes.extend([short(claim.customer), short(claim.key), 0, 0]);
    bytes.extend([0; 8]);
    bytes.extend(group.0.to_le_bytes());
    bytes.extend(claim.receipt.entries.to_le_bytes());
    bytes.extend(claim.receipt.windows.to_le_bytes());
    bytes.extend(claim.name.to_le_bytes());
    bytes.extend(claim.digest.0.to_le_bytes());
    bytes.extend(claim.customer.as_bytes());
    bytes.extend(claim.key.as_bytes());
    let checksum = checksum(&bytes[start..], incarnation);
    bytes[start + CHECKSUM_AT..start + CHECKED_FROM].copy_from_slice(&checksum.to_le_bytes());
}

/// The lengths before the checksum go into its seed, everything after it is hashed.
fn checksum(entry: &[u8], incarnation: Incarnation) -> u64 {
    let lengths = u64_at(entry, 0).unwrap_or_default();
    xxh3_64_with_seed(&entry[CHECKED_FROM..], incarnation.0 ^ lengths)
}

/// How long the entry is that `bytes` begins with, by its own word; `None` after the last.
fn entry_len(bytes: &[u8]) -> Option<usize> {
    const MAX: usize =
        ENTRY_HEADER_BYTES + limits::CUSTOMER_ID_BYTES_MAX + limits::IDEMPOTENCY_KEY_BYTES_MAX;
    let len = u32_at(bytes, 0)? as usize;
    (ENTRY_HEADER_BYTES..=MAX.min(bytes.len())).contains(&len).then_some(len)
}

/// Reads the entry that `bytes` begins with.
fn decode_entry(bytes: &[u8], incarnation: Incarnation) -> Option<Entry<'_>> {
    let entry = &bytes[..entry_len(bytes)?];
    if checksum(entry, incarnation) != u64_at(entry, CHECKSUM_AT)? {
        return None;
    }
    let (customer, key) = entry[ENTRY_HEADER_BYTES..].split_at_checked(entry[4].into())?;
    if usize::from(entry[5]) != key.len() || entry[6..CHECKSUM_AT] != [0, 0] {
        return None;
    }
    Some(Entry {
        group: Group(u64_at(entry, 16)?),
        receipt: Receipt { entries: u32_at(entry, 24)?, windows: u32_at(entry, 28)? },
        name: u128_at(entry, 32)?,
        digest: ContentDigest(u128_at(entry, 48)?),
        customer: std::str::from_utf8(customer).ok()?,
        key: std::str::from_utf8(key).ok()?,
    })
}

/// Up to where a page has been made durable, in bytes. Before it every entry is valid, or the disk
/// has changed it; after it entries may be torn by a crash.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Seal(pub u64);

/// A page in memory, with the place of the first entry of each claim.
#[derive(Debug)]
pub(super) struct PageIndex {
    pub(super) id: PageId,
    bytes: Vec<u8>,
    /// Where the entry of each claim is; a page has one entry a claim.
    offsets: HashMap<u128, u32>,
    /// Some of what was made durable is not there: a claim that is not found may have been.
    pub(super) is_damaged: bool,
}

impl PageIndex {
    pub(super) fn new(id: PageId) -> Self {
        let bytes = vec![0; PAGE_HEADER_BYTES];
        Self { id, bytes, offsets: HashMap::new(), is_damaged: false }
    }

    /// Reads a page that was made durable up to its seal.
    pub(super) fn load(file: &dyn DiskFile, id: PageId, seal: Seal) -> DiskResult<Self> {
        let len = usize::try_from(file.len()?).unwrap_or(usize::MAX);
        let mut bytes = vec![0; len];
        file.read_at(0, &mut bytes)?;
        let mut index = Self { id, bytes, offsets: HashMap::new(), is_damaged: false };
        index.is_damaged = index.read_from(PAGE_HEADER_BYTES) < seal.0;
        Ok(index)
    }

    /// Takes note of entries that were appended to the page.
    pub(super) fn append(&mut self, entries: &[u8]) {
        let from = self.bytes.len();
        self.bytes.extend(entries);
        self.read_from(from);
    }

    /// Takes note of the entries from there on; up to where all of them are valid.
    fn read_from(&mut self, mut at: usize) -> u64 {
        let mut valid_to = at;
        // An entry that does not validate is void; the ones after it are not to blame.
        while let Some(len) = entry_len(&self.bytes[at..]) {
            if let Some(entry) = decode_entry(&self.bytes[at..], self.id.incarnation) {
                let offset = u32::try_from(at).expect("a page is short");
                self.offsets.entry(entry.name).or_insert(offset);
                if valid_to == at {
                    valid_to += len;
                }
            }
            at += len;
        }
        self.bytes.truncate(at);
        valid_to as u64
    }

    /// Forgets the entries from there on.
    fn truncate(&mut self, at: usize) {
        self.bytes.truncate(at);
        self.offsets.retain(|_, offset| (*offset as usize) < at);
    }

    /// What the page is sealed with, once all of it is durable.
    pub(super) fn seal(&self) -> Seal {
        Seal(self.bytes.len() as u64)
    }

    /// Whether there is an entry of this name.
    pub(super) fn contains(&self, name: u128) -> bool {
        self.offsets.contains_key(&name)
    }

    /// The entry for the claim's customer and key.
    pub(super) fn find(&self, claim: &Claim<'_>) -> Option<Entry<'_>> {
        let at = *self.offsets.get(&claim.name)? as usize;
        let entry = decode_entry(&self.bytes[at..], self.id.incarnation)?;
        (entry.customer == claim.customer && entry.key == claim.key).then_some(entry)
    }

    /// The names of all claims that were ever made on this page.
    pub(super) fn names(&self) -> impl Iterator<Item = u128> {
        self.offsets.keys().copied()
    }

    /// The names of the claims that were made in some groups.
    pub(super) fn names_of(&self, groups: &[RangeInclusive<Group>]) -> Vec<u128> {
        let entry = |at: &u32| decode_entry(&self.bytes[*at as usize..], self.id.incarnation);
        let entries = self.offsets.values().filter_map(entry);
        let is_of = |entry: &Entry<'_>| groups.iter().any(|range| range.contains(&entry.group));
        entries.filter(is_of).map(|entry| entry.name).collect()
    }

    /// The first and the last group of the claims on this page, if it has any.
    pub(super) fn groups(&self) -> Option<(Group, Group)> {
        let entry = |at: &u32| decode_entry(&self.bytes[*at as usize..], self.id.incarnation);
        let groups = || self.offsets.values().filter_map(entry).map(|entry| entry.group);
        Some((groups().min()?, groups().max()?))
    }

    /// Where the next entry goes.
    pub(super) fn end(&self) -> usize {
        self.bytes.len()
    }
}

/// The page that entries are being appended to.
#[derive(Debug)]
pub(super) struct OpenPage {
    pub(super) header: PageHeader,
    pub(super) path: PathBuf,
    pub(super) file: Arc<dyn DiskFile>,
    pub(super) index: PageIndex,
    /// Names that may be linked to it.
    pub(super) names: u32,
}

impl OpenPage {
    pub(super) fn create(disk: &dyn Disk, layout: &Layout, header: PageHeader) -> DiskResult<Self> {
        let path = layout.page(header.id);
        let file = disk.create_new(&path, &header.encode(), limits::CLAIM_PAGE_BYTES)?;
        Ok(Self { header, path, file, index: PageIndex::new(header.id), names: 0 })
    }

    /// How many of the claims, from the first on, can be written here: as far as there is room,
    /// and up to a key that has an entry here already, because the first entry of a key counts.
    pub(super) fn fitting(&self, claims: &[Claim<'_>]) -> usize {
        let mut bytes = self.index.end();
        let names = (limits::CLAIM_PAGE_NAMES_MAX - self.names) as usize;
        let mut seen = HashSet::new();
        claims
            .iter()
            .take(names)
            .take_while(|claim| {
                bytes += claim.bytes();
                let fits = bytes as u64 <= limits::CLAIM_PAGE_BYTES;
                fits && !self.index.contains(claim.name) && seen.insert(claim.name)
            })
            .count()
    }

    /// Writes the entries of some claims in one go, before any of them is linked.
    pub(super) fn append(&mut self, claims: &[Claim<'_>], group: Group) -> DiskResult<()> {
        self.write(claims, bytes_of(claims), group)
    }

    /// Takes back the entries that were appended last, and writes those of some of the claims
    /// instead. Nothing of their group counts yet, so a crash may leave any mixture of the two.
    pub(super) fn replace(
        &mut self,
        appended: &[Claim<'_>],
        kept: &[Claim<'_>],
        group: Group,
    ) -> DiskResult<()> {
        let bytes = bytes_of(appended);
        self.index.truncate(self.index.end() - bytes);
        self.names -= u32::try_from(appended.len()).expect("a group is short");
        self.write(kept, bytes, group)
    }

    /// Writes entries at the end of the page, and zeros after them where there were others.
    fn write(&mut self, claims: &[Claim<'_>], bytes: usize, group: Group) -> DiskResult<()> {
        let mut entries = Vec::with_capacity(bytes);
        for claim in claims {
            encode_entry(&mut entries, claim, group, self.header.id.incarnation);
        }
        let end = entries.len();
        entries.resize(bytes, 0);
        self.file.write_at(self.index.end() as u64, &entries)?;
        self.index.append(&entries[..end]);
        self.names += u32::try_from(claims.len()).expect("a group is short");
        Ok(())
    }
}
