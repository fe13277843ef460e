//! The file: a header, then the buckets of each class.

use std::fs::{File, TryLockError};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::{FallocateFlags, fallocate};
use rustix::io::Errno;

use super::bucket::Bucket;
use super::lock::{Held, Processes, acquire};
use super::map::Map;
use super::narrow::{self, Narrow};
use super::owner;
use super::wide::{HEAD, MAX_WAYS, Shape, Wide};
use crate::error::{Error, ErrorKind, Result};
use crate::limits::{Fingerprint, Fingerprinter, KeyHash};
use crate::types::random_bytes;

/// "levqorLM" as the number that this machine reads: a file from one with another order of bytes is not ours.
const MAGIC: u64 = u64::from_le_bytes(*b"levqorLM");
/// What a file begins with while it is made.
const MAKING: u64 = u64::from_le_bytes(*b"levqorL?");
/// Changes with every change of what is written here or in a bucket.
const VERSION: u64 = 1;
/// Words of the header: a page.
const HEADER: usize = 512;
/// Slots of a class that are laid out for every 100 keys there shall be room for: keys do not fall into
/// buckets evenly, and at this rate less than one of 10,000 full buckets comes too early.
const SLOTS_PER_100: usize = 160;
/// The most keys of a table.
const MAX_KEYS: usize = 50_000_000;

/// Places in the header.
#[derive(Clone, Copy)]
pub(super) enum Field {
    Magic = 0,
    Version = 1,
    Keys = 2,
    Namespace = 3,
    /// No block ends later than this.
    BlockedUntil = 4,
    EvictedIdle = 5,
    EvictedUsed = 6,
    EvictedSpent = 7,
    /// Two words for names, ten for keys.
    Secrets = 8,
}

/// A part of the table: buckets for keys that need as much room.
#[derive(Clone, Copy, Debug)]
struct Class {
    kind: Kind,
    first: usize,
    buckets: usize,
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    Narrow,
    Wide(Shape),
}

impl Kind {
    const fn ways(self) -> usize {
        match self {
            Kind::Narrow => narrow::WAYS,
            Kind::Wide(shape) => shape.ways,
        }
    }

    const fn words(self) -> usize {
        match self {
            Kind::Narrow => narrow::WORDS,
            Kind::Wide(shape) => shape.words(),
        }
    }
}

/// The class of token buckets, and the first for anything else, where blocks are too.
pub(super) const TOKENS: usize = 0;
pub(super) const BLOCKS: usize = 1;

const fn wide(ways: usize, width: usize) -> Kind {
    Kind::Wide(Shape { ways, width })
}

/// How much rarer than the first class's the keys of each class are thought to be, and how their buckets look.
const CLASSES: [(usize, Kind); 6] = [
    (1, Kind::Narrow),
    (1, wide(MAX_WAYS, 3)),
    (8, wide(MAX_WAYS, 31)),
    (64, wide(MAX_WAYS, 255)),
    (512, wide(30, 2_047)),
    (4_096, wide(14, 16_383)),
];

/// Where a bucket is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    /// The word it begins at; locks are taken in this order.
    pub(super) word: usize,
    pub(super) class: usize,
}

/// A table that several processes have open.
#[derive(Debug)]
pub(super) struct Table {
    map: Map,
    classes: [Class; CLASSES.len()],
    pub(super) keys: usize,
    pub(super) names: Fingerprinter,
    pub(super) hash: KeyHash,
    /// Holds the file's lock shared for as long as the table is open.
    file: File,
}

fn layout(keys: usize) -> ([Class; CLASSES.len()], usize) {
    let mut first = HEADER;
    let classes = CLASSES.map(|(rarity, kind)| {
        let slots = (keys / rarity).saturating_mul(SLOTS_PER_100) / 100;
        let buckets = slots.div_ceil(kind.ways()).max(1);
        let class = Class { kind, first, buckets };
        first += buckets * kind.words();
        class
    });
    (classes, first)
}

fn unreachable(path: &Path, what: &str, e: impl std::fmt::Display) -> Error {
    Error::new(
        ErrorKind::Config,
        "limits.shm_unreachable",
        format!("the table of limits {} cannot be {what}: {e}", path.display()),
    )
    .hint("name a file on a local disk or in /dev/shm that this user may write, with room for the whole table")
}

fn other_layout(path: &Path, why: &str) -> Error {
    Error::new(
        ErrorKind::Config,
        "limits.shm_layout",
        format!("the table of limits {} cannot be used: {why}", path.display()),
    )
}

/// The first word of a file; `None` if it has none.
fn first_word(path: &Path, file: &File) -> Result<Option<u64>> {
    let mut word = [0; 8];
    match file.read_exact_at(&mut word, 0) {
        Ok(()) => Ok(Some(u64::from_ne_bytes(word))),
        Err(_) if file.metadata().is_ok_and(|m| m.len() == 0) => Ok(None),
        Err(e) if e.kind() == std::io::ErrorKind::UnexpectedEof => Err(not_ours(path)),
        Err(e) => Err(unreachable(path, "read", e)),
    }
}

impl Table {
    /// Opens a table, and makes it if there is none. `keys` is how many it shall have room for; without it,
    /// what the file says, or `default` for a new one.
    pub(super) fn open(path: &Path, keys: Option<usize>, default: usize) -> Result<Self> {
        if keys.is_some_and(|n| n == 0 || n > MAX_KEYS) {
            return Err(Error::new(
                ErrorKind::Config,
                "limits.shm_capacity",
                format!("a table of limits has room for 1 to {MAX_KEYS} keys"),
            ));
        }
        // Whoever has the table open holds the file's lock shared, so whoever gets it alone knows that nobody
        // is at work in it. The system gives the locks of a dead process back.
        for _ in 0..100 {
            let file = File::options()
                .read(true)
                .write(true)
                .create(true)
                .truncate(false)
                .mode(0o600)
                .open(path)
                .map_err(|e| unreachable(path, "opened", e))?;
            match file.try_lock() {
                Ok(()) => return Self::alone(path, file, keys, default),
                Err(TryLockError::WouldBlock) => {}
                Err(TryLockError::Error(e)) => return Err(unreachable(path, "locked", e)),
            }
            file.lock_shared().map_err(|e| unreachable(path, "locked", e))?;
            // Who was alone with it may have died before it was ready.
            if let Some(table) = Self::joined(path, file, keys)? {
                return Ok(table);
            }
            std::thread::sleep(std::time::Duration::from_millis(2));
        }
        Err(unreachable(path, "made ready", "nobody came to its end with it"))
    }

    /// Makes or adopts a file that nobody else has open.
    fn alone(path: &Path, file: File, keys: Option<usize>, default: usize) -> Result<Self> {
        match first_word(path, &file)? {
            Some(MAGIC) => {}
            // New, or its maker died before it was ready.
            None | Some(MAKING) => make(path, &file, keys.unwrap_or(default))?,
            Some(_) => return Err(not_ours(path)),
        }
        let table = Self::map(path, file, keys)?;
        table.adopt();
        // For a moment nobody has the lock, and another may come to be alone: it finds all ready.
        table.file.lock_shared().map_err(|e| unreachable(path, "locked", e))?;
        Ok(table)
    }

    /// A file that others have open; `None` if it is not ready.
    fn joined(path: &Path, file: File, keys: Option<usize>) -> Result<Option<Self>> {
        match first_word(path, &file)? {
            Some(MAGIC) => {}
            None | Some(MAKING) => return Ok(None),
            Some(_) => return Err(not_ours(path)),
        }
        let table = Self::map(path, file, keys)?;
        if table.field(Field::Namespace).load(Ordering::Acquire) != owner::namespace() {
            return Err(Error::new(
                ErrorKind::Config,
                "limits.shm_other_namespace",
                format!(
                    "the table of limits {} is in use by processes of another PID namespace (another container)",
                    path.display()
                ),
            )
            .hint("give each container a file of its own, let them share a PID namespace, or keep limits in Redis or Postgres"));
        }
        Ok(Some(table))
    }

    fn map(path: &Path, file: File, keys: Option<usize>) -> Result<Self> {
        let fault = |e: std::io::Error| unreachable(path, "mapped", e);
        let header = Map::new(&file, HEADER).map_err(fault)?;
        let [version, found] = [Field::Version, Field::Keys].map(|f| field(&header, f).load(Ordering::Acquire));
        if version != VERSION {
            return Err(
                other_layout(path, &format!("it has layout {version}, this build knows layout {VERSION}"))
                    .hint("stop every process that uses it and delete it (its limits begin anew), or name another file"),
            );
        }
        let found = usize::try_from(found).ok().filter(|n| (1..=MAX_KEYS).contains(n));
        let Some(found) = found else { return Err(not_ours(path)) };
        if let Some(wanted) = keys.filter(|n| *n != found) {
            return Err(
                other_layout(path, &format!("it has room for {found} keys, not for {wanted}")).hint(format!(
                    "open it with room for {found} keys, or stop every process that uses it and delete it (its limits begin anew)"
                )),
            );
        }
        let (classes, words) = layout(found);
        let secret = |i: usize| header.words()[Field::Secrets as usize + i].load(Ordering::Acquire);
        let mut name = [0; 16];
        name[..8].copy_from_slice(&secret(0).to_le_bytes());
        name[8..].copy_from_slice(&secret(1).to_le_bytes());
        Ok(Table {
            map: Map::new(&file, words).map_err(fault)?,
            classes,
            keys: found,
            names: Fingerprinter::with_secret(name),
            hash: KeyHash::with_secrets(std::array::from_fn(|i| secret(2 + i))),
            file,
        })
    }

    /// Takes over a file that nobody has open: whoever held a lock is gone.
    fn adopt(&self) {
        for word in self.places().map(|place| &self.map.words()[place.word]) {
            if word.load(Ordering::Relaxed) != 0 {
                word.store(0, Ordering::Release);
            }
        }
        self.field(Field::Namespace).store(owner::namespace(), Ordering::Release);
    }

    pub(super) fn field(&self, f: Field) -> &AtomicU64 {
        field(&self.map, f)
    }

    /// The first class of wide buckets whose slots have room for so many words.
    pub(super) fn class_for(words: usize) -> Option<usize> {
        CLASSES.iter().position(|(_, kind)| words <= room_in(*kind))
    }

    /// Words that the largest slots have room for.
    pub(super) fn most_words() -> usize {
        CLASSES.iter().map(|(_, kind)| room_in(*kind)).max().unwrap_or(0)
    }

    /// The bucket that a key of a class belongs to.
    #[inline]
    pub(super) fn place(&self, class: usize, key: Fingerprint) -> Place {
        let c = &self.classes[class];
        // The high half of a product spreads evenly, without a division.
        let index = (u128::from(key.0[1]) * c.buckets as u128) >> 64;
        Place {
            word: c.first + usize::try_from(index).unwrap_or(0) * c.kind.words(),
            class,
        }
    }

    /// Every bucket.
    pub(super) fn places(&self) -> impl Iterator<Item = Place> {
        self.classes.iter().enumerate().flat_map(|(class, c)| {
            (0..c.buckets).map(move |i| Place {
                word: c.first + i * c.kind.words(),
                class,
            })
        })
    }

    #[inline]
    pub(super) fn bucket(&self, place: Place) -> Bucket<'_, AtomicU64> {
        let kind = self.classes[place.class].kind;
        let words = &self.map.words()[place.word..place.word + kind.words()];
        match kind {
            Kind::Narrow => Bucket::Narrow(Narrow(words)),
            Kind::Wide(shape) => Bucket::Wide(Wide { words, shape }),
        }
    }

    /// The bucket of blocks at a place of their class.
    pub(super) fn blocks(&self, place: Place) -> Option<Wide<'_, AtomicU64>> {
        match self.bucket(place) {
            Bucket::Wide(wide) => Some(wide),
            Bucket::Narrow(_) => None,
        }
    }

    /// Locks a bucket.
    #[inline]
    pub(super) fn lock(&self, place: Place) -> Result<Held<'_, AtomicU64>> {
        acquire(&self.map.words()[place.word], &Processes).ok_or_else(|| {
            Error::unavailable(
                "limits.busy",
                "a process that holds a part of the table of limits does not go on",
            )
            .hint("it was stopped, by a debugger or a frozen container, in the middle of a call: let it go on, or end it")
        })
    }
}

/// Gives an empty file its room and its header.
fn make(path: &Path, file: &File, keys: usize) -> Result<()> {
    let fault = |e: std::io::Error| unreachable(path, "made", e);
    let bytes = (layout(keys).1 * 8) as u64;
    file.set_len(0).map_err(fault)?;
    file.write_all_at(&MAKING.to_ne_bytes(), 0).map_err(fault)?;
    // The room is taken now: a page that a full disk cannot give later would end in a signal.
    match fallocate(file, FallocateFlags::empty(), 0, bytes) {
        Ok(()) => {}
        Err(Errno::NOTSUP | Errno::NOSYS | Errno::INVAL) => file.set_len(bytes).map_err(fault)?,
        Err(e) => {
            let _ = file.set_len(0);
            return Err(unreachable(path, "made", e));
        }
    }
    let map = Map::new(file, HEADER).map_err(fault)?;
    for i in 0..12 {
        let secret = u64::from_le_bytes(random_bytes());
        map.words()[Field::Secrets as usize + i].store(secret, Ordering::Relaxed);
    }
    field(&map, Field::Version).store(VERSION, Ordering::Relaxed);
    field(&map, Field::Keys).store(keys as u64, Ordering::Relaxed);
    field(&map, Field::Magic).store(MAGIC, Ordering::Release);
    Ok(())
}

/// Words of a state for which a wide slot has room.
fn room_in(kind: Kind) -> usize {
    match kind {
        Kind::Narrow => 0,
        Kind::Wide(shape) => shape.width - 1,
    }
}

fn field(map: &Map, f: Field) -> &AtomicU64 {
    &map.words()[f as usize]
}

fn not_ours(path: &Path) -> Error {
    other_layout(path, "it is something else, or from another kind of machine")
        .hint("name a file that is not there yet; it is made")
}

const _: () = {
    // Slots begin on cache lines or divide them, and heads have room for what they say.
    assert!(narrow::WORDS == 128 && HEAD.is_multiple_of(8));
    let mut i = 0;
    while i < CLASSES.len() {
        let kind = CLASSES[i].1;
        assert!(kind.words().is_multiple_of(8) && kind.ways() <= 63);
        if let Kind::Wide(shape) = kind {
            assert!(shape.ways <= MAX_WAYS && shape.width < 1 << 14);
        }
        i += 1;
    }
};
