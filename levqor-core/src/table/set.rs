use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::fmt::Debug;
use std::hash::Hash;
use std::sync::Arc;

use super::{Cell, Cells, Column, KeyCells};
use crate::error::{Error, Result};
use crate::types::Millis;

/// Something that is stored: see [`row!`](crate::table::row).
pub trait Row: Clone + PartialEq + Debug + Send + Sync + 'static {
    /// What identifies it.
    type Key: Ord + Hash + Clone + Debug + Send + Sync + KeyCells;
    /// By what it is loaded together with others; `()` where it never is.
    type Group: Ord + Hash + Clone + Debug + Send + Sync + KeyCells;
    /// The table's name.
    const TABLE: &'static str;
    /// Its columns, in the order of [`Row::cells`].
    const COLUMNS: &'static [Column];
    /// The columns of the key.
    const KEY: &'static [&'static str];
    /// The columns of the group.
    const GROUP: &'static [&'static str];
    /// In SQL, the condition under which a row is in its group.
    const OPEN: &'static str;
    /// The column by which a group is ordered, where [`Table::first`] is used.
    const RANK: Option<&'static str>;
    /// Whether two processes that change the same row must queue.
    const LOCK: bool;

    /// The place in its group; equal ranks stand in the order of their keys.
    fn rank(&self) -> i64 {
        0
    }

    /// The key.
    fn key(&self) -> Self::Key;
    /// The group, while the row belongs to it.
    fn group(&self) -> Option<Self::Group>;
    /// The columns' values.
    fn cells(&self) -> Vec<Cell>;
    /// The row of these values.
    fn from_cells(cells: Cells) -> Result<Self>;
}

/// A column by which a group can be ordered.
pub trait Rank {
    /// Its place; of what has none, the last.
    fn rank(&self) -> i64;
}

impl Rank for i64 {
    fn rank(&self) -> i64 {
        *self
    }
}

impl Rank for Option<Millis> {
    fn rank(&self) -> i64 {
        self.map_or(i64::MAX, |at| at.0)
    }
}

/// Why a rule did not come to its end.
#[derive(Debug)]
pub enum Stop {
    /// It needs rows that are not loaded; the tables know which.
    Missing,
    /// It says no; nothing of what it did so far counts.
    Refused(Error),
}

impl From<Error> for Stop {
    fn from(e: Error) -> Self {
        Stop::Refused(e)
    }
}

/// What a rule over tables returns.
pub type Step<T> = std::result::Result<T, Stop>;

/// A place in a table.
#[derive(Clone, Debug)]
pub struct Slot<R> {
    /// The row; `None` if there is none under this key.
    pub row: Option<Arc<R>>,
    /// Whether the store has a row under this key.
    pub stored: bool,
    /// Whether the row differs from the store's.
    pub dirty: bool,
}

/// Rows that rules asked for and a table does not have.
#[derive(Debug)]
pub struct Wants<R: Row> {
    /// By key.
    pub keys: BTreeSet<R::Key>,
    /// By group.
    pub groups: BTreeSet<R::Group>,
    /// The front of a group: how many rows, up to which rank.
    pub fronts: BTreeMap<R::Group, (usize, i64)>,
}

impl<R: Row> Wants<R> {
    /// Whether nothing is wanted.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty() && self.groups.is_empty() && self.fronts.is_empty()
    }
}

impl<R: Row> Default for Wants<R> {
    fn default() -> Self {
        Wants {
            keys: BTreeSet::new(),
            groups: BTreeSet::new(),
            fronts: BTreeMap::new(),
        }
    }
}

/// What has to be written to the store.
#[derive(Debug)]
pub enum Change<R> {
    /// A new row.
    Insert(Arc<R>),
    /// A row that the store has.
    Update(Arc<R>),
    /// A row that the store has and that is to go (its last content).
    Delete(Vec<Cell>),
}

/// The part of a group's front that was loaded.
#[derive(Debug)]
struct Front<K> {
    /// How many rows were asked for.
    asked: usize,
    /// Up to which rank.
    upto: i64,
    /// The last row that came; `None` if every one up to the rank did.
    horizon: Option<(i64, K)>,
}

/// Rows by key, with groups, an undo log, and knowledge of what is not loaded.
#[derive(Debug)]
pub struct Table<R: Row> {
    rows: HashMap<R::Key, Slot<R>>,
    groups: HashMap<R::Group, BTreeSet<(i64, R::Key)>>,
    /// Groups of which every row is here (of an incomplete table).
    whole: HashSet<R::Group>,
    /// How much of the front of a group is here.
    fronts: HashMap<R::Group, Front<R::Key>>,
    /// Everything there is, is here: the memory backend.
    complete: bool,
    undo: Vec<(R::Key, Option<Slot<R>>)>,
    wants: Wants<R>,
    /// Whether a row was inserted where there was one.
    clash: bool,
}

impl<R: Row> Table<R> {
    /// A table that is everything there is.
    pub fn complete() -> Self {
        Table {
            complete: true,
            ..Self::partial()
        }
    }

    /// A table that holds what is loaded into it.
    pub fn partial() -> Self {
        Table {
            rows: HashMap::new(),
            groups: HashMap::new(),
            whole: HashSet::new(),
            fronts: HashMap::new(),
            complete: false,
            undo: Vec::new(),
            wants: Wants::default(),
            clash: false,
        }
    }

    /// The row of a key.
    pub fn get(&mut self, key: &R::Key) -> Step<Option<Arc<R>>> {
        match self.rows.get(key) {
            Some(slot) => Ok(slot.row.clone()),
            None if self.complete => Ok(None),
            None => {
                self.wants.keys.insert(key.clone());
                Err(Stop::Missing)
            }
        }
    }

    /// The rows of a group, in the order of their rank and key.
    pub fn group(&mut self, group: &R::Group) -> Step<Vec<Arc<R>>> {
        if !self.complete && !self.whole.contains(group) {
            self.wants.groups.insert(group.clone());
            return Err(Stop::Missing);
        }
        Ok(self.peek_group(group).cloned().collect())
    }

    /// At most `n` rows from the front of a group, with a rank of at most `upto`. In a store that many
    /// processes share, rows that another one is just changing may be left out.
    pub fn first(&mut self, group: &R::Group, n: usize, upto: i64) -> Step<Vec<Arc<R>>> {
        let found: Vec<_> = {
            let horizon = match self.fronts.get(group) {
                Some(front) if front.upto >= upto => front.horizon.as_ref(),
                _ if self.complete || self.whole.contains(group) => None,
                _ => return self.want_front(group, n, upto),
            };
            let members = self.groups.get(group).into_iter().flatten();
            members
                .take_while(|place| place.0 <= upto && horizon.is_none_or(|h| *place <= h))
                .take(n)
                .filter_map(|(_, key)| self.peek(key).cloned())
                .collect()
        };
        match self.fronts.get(group) {
            Some(front) if found.len() < n && front.horizon.as_ref().is_some_and(|h| h.0 <= upto) => {
                // Twice as many each time: many batches that take a few come to their end in a few rounds.
                let more = front.asked.saturating_mul(2).max(front.asked.saturating_add(n));
                self.want_front(group, more, upto)
            }
            _ => Ok(found),
        }
    }

    fn want_front<T>(&mut self, group: &R::Group, n: usize, upto: i64) -> Step<T> {
        self.note_front(group.clone(), n, upto);
        Err(Stop::Missing)
    }

    fn note_front(&mut self, group: R::Group, n: usize, upto: i64) {
        let want = self.wants.fronts.entry(group).or_insert((0, upto));
        *want = (want.0.max(n), want.1.max(upto));
    }

    /// Asks for the front of a group ahead of time.
    pub fn want_first(&mut self, group: R::Group, n: usize, upto: i64) {
        if !self.complete && !self.whole.contains(&group) && !self.fronts.contains_key(&group) {
            self.note_front(group, n, upto);
        }
    }

    /// Asks for a row ahead of time, so that one load serves many.
    pub fn want(&mut self, key: R::Key) {
        if !self.complete && !self.rows.contains_key(&key) {
            self.wants.keys.insert(key);
        }
    }

    /// Whether it is known what stands under a key.
    pub fn has(&self, key: &R::Key) -> bool {
        self.complete || self.rows.contains_key(key)
    }

    /// Asks once more for what was [taken](Table::take_wants).
    pub fn want_again(&mut self, wants: Wants<R>) {
        wants.keys.into_iter().for_each(|key| self.want(key));
        wants.groups.into_iter().for_each(|group| self.want_group(group));
        for (group, (n, upto)) in wants.fronts {
            self.note_front(group, n, upto);
        }
    }

    /// Asks for a group ahead of time.
    pub fn want_group(&mut self, group: R::Group) {
        if !self.complete && !self.whole.contains(&group) {
            self.wants.groups.insert(group);
        }
    }

    /// Inserts a row that is said to be new, so that nothing has to be loaded. If there is one under its
    /// key all the same, [`Table::take_clash`] or the store's own primary key says so.
    pub fn insert(&mut self, row: R) {
        let key = row.key();
        let old = self.rows.get(&key);
        self.clash |= old.is_some_and(|s| s.row.is_some());
        let stored = old.is_some_and(|s| s.stored);
        self.write(key, Some(Arc::new(row)), stored);
    }

    /// The table's name, if since the last time a row was inserted where there was one.
    pub fn take_clash(&mut self) -> Option<&'static str> {
        std::mem::take(&mut self.clash).then_some(R::TABLE)
    }

    /// Writes a row: over the one of the same key, which has been read before, or as a new one.
    pub fn put(&mut self, row: R) -> Step<()> {
        let key = row.key();
        self.get(&key)?;
        let stored = self.rows.get(&key).is_some_and(|s| s.stored);
        self.write(key, Some(Arc::new(row)), stored);
        Ok(())
    }

    /// Removes a row.
    pub fn remove(&mut self, key: &R::Key) -> Step<()> {
        if self.get(key)?.is_some() {
            let stored = self.rows.get(key).is_some_and(|s| s.stored);
            self.write(key.clone(), None, stored);
        }
        Ok(())
    }

    fn write(&mut self, key: R::Key, row: Option<Arc<R>>, stored: bool) {
        let old = self.place(
            key.clone(),
            Some(Slot {
                row,
                stored,
                dirty: true,
            }),
        );
        self.undo.push((key, old));
    }

    /// Puts a slot in its place, keeps the groups right, and gives back what was there.
    fn place(&mut self, key: R::Key, slot: Option<Slot<R>>) -> Option<Slot<R>> {
        let place_of = |slot: &Option<Slot<R>>| {
            let row = slot.as_ref().and_then(|s| s.row.as_ref())?;
            row.group().map(|g| (g, row.rank()))
        };
        let new_group = place_of(&slot);
        let old = match slot {
            Some(slot) => self.rows.insert(key.clone(), slot),
            None => self.rows.remove(&key),
        };
        let old_group = place_of(&old);
        if old_group != new_group {
            if let Some((g, rank)) = old_group
                && let Some(set) = self.groups.get_mut(&g)
            {
                set.remove(&(rank, key.clone()));
                if set.is_empty() {
                    self.groups.remove(&g);
                }
            }
            if let Some((g, rank)) = new_group {
                self.groups.entry(g).or_default().insert((rank, key));
            }
        }
        old
    }

    /// Takes in a row that the store has. A row that is here already stays as it is.
    pub fn load(&mut self, row: R) {
        let key = row.key();
        if !self.rows.contains_key(&key) {
            self.place(
                key,
                Some(Slot {
                    row: Some(Arc::new(row)),
                    stored: true,
                    dirty: false,
                }),
            );
        }
    }

    /// Notes that everything wanted was asked of the store: what did not come does not exist.
    pub fn loaded(&mut self, wants: Wants<R>) {
        for key in wants.keys {
            self.rows.entry(key).or_insert(Slot {
                row: None,
                stored: false,
                dirty: false,
            });
        }
        self.whole.extend(wants.groups);
    }

    /// Notes how much of the front of a group came: `last` is the last row, or `None` if there were
    /// fewer than asked for.
    pub fn front_loaded(&mut self, group: R::Group, asked: (usize, i64), last: Option<&R>) {
        let horizon = last.map(|r| (r.rank(), r.key()));
        self.fronts.insert(
            group,
            Front {
                asked: asked.0,
                upto: asked.1,
                horizon,
            },
        );
    }

    /// What rules have asked for since the last time.
    pub fn take_wants(&mut self) -> Wants<R> {
        std::mem::take(&mut self.wants)
    }

    /// Where the undo log stands; [`Table::rollback`] goes back to it.
    pub fn mark(&self) -> usize {
        self.undo.len()
    }

    /// Undoes every change since the mark.
    pub fn rollback(&mut self, mark: usize) {
        while self.undo.len() > mark {
            if let Some((key, old)) = self.undo.pop() {
                self.place(key, old);
            }
        }
    }

    /// Forgets how to undo: the changes stand.
    pub fn settle(&mut self) {
        self.undo.clear();
    }

    /// What differs from the store, in the order of the keys.
    pub fn changes(&self) -> Vec<Change<R>> {
        let mut touched: BTreeMap<&R::Key, &Slot<R>> = BTreeMap::new();
        for (key, _) in &self.undo {
            if let Some(slot) = self.rows.get(key).filter(|s| s.dirty) {
                touched.insert(key, slot);
            }
        }
        touched
            .into_iter()
            .filter_map(|(key, slot)| match (&slot.row, slot.stored) {
                (Some(row), false) => Some(Change::Insert(row.clone())),
                (Some(row), true) => Some(Change::Update(row.clone())),
                (None, true) => Some(Change::Delete(key.cells())),
                (None, false) => None,
            })
            .collect()
    }

    /// Every row, in no order. Of a partial table: every loaded one.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<R>> {
        self.rows.values().filter_map(|s| s.row.as_ref())
    }

    /// Looks at a row without asking for it.
    pub fn peek(&self, key: &R::Key) -> Option<&Arc<R>> {
        self.rows.get(key).and_then(|s| s.row.as_ref())
    }

    /// Looks at a group without asking for it.
    pub fn peek_group(&self, group: &R::Group) -> impl Iterator<Item = &Arc<R>> {
        self.groups.get(group).into_iter().flatten().filter_map(|(_, k)| self.peek(k))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    crate::row! {
        /// A thing in a box.
        pub struct Thing in "t" {
            id: String, fixed;
            place: String;
            open: bool;
            n: Option<i64>;
            order: i64;
        }
        key(id: String)
        group(place: String) when |r| r.open;
        rank order;
        lock false
    }

    fn thing(id: &str, place: &str, open: bool) -> Thing {
        Thing {
            id: id.into(),
            place: place.into(),
            open,
            n: None,
            order: 0,
        }
    }

    #[test]
    fn what_is_not_loaded_is_asked_for_and_never_taken_for_absent() {
        let mut t = Table::<Thing>::partial();
        let a = ("a".to_owned(),);
        assert!(matches!(t.get(&a), Err(Stop::Missing)));
        assert!(matches!(t.group(&("box".to_owned(),)), Err(Stop::Missing)));
        assert!(matches!(t.put(thing("a", "box", true)), Err(Stop::Missing)));
        let wants = t.take_wants();
        assert_eq!((wants.keys.len(), wants.groups.len()), (1, 1));
        t.load(thing("b", "box", true));
        t.loaded(wants);
        assert_eq!(t.get(&a).unwrap(), None);
        assert_eq!(t.group(&("box".to_owned(),)).unwrap().len(), 1);
    }

    #[test]
    fn undo_goes_back_to_the_mark_with_groups_and_flags() {
        let mut t = Table::<Thing>::complete();
        t.insert(thing("a", "box", true));
        let mark = t.mark();
        t.put(thing("a", "bag", true)).unwrap();
        t.insert(thing("b", "box", true));
        t.remove(&("a".to_owned(),)).unwrap();
        t.rollback(mark);
        assert_eq!(t.group(&("box".to_owned(),)).unwrap().len(), 1);
        assert!(t.group(&("bag".to_owned(),)).unwrap().is_empty());
        assert_eq!(t.changes().len(), 1);
        t.settle();
        assert!(t.changes().is_empty());
    }

    #[test]
    fn closed_rows_leave_their_group_and_changes_say_what_to_write() {
        let mut t = Table::<Thing>::partial();
        t.load(thing("a", "box", true));
        t.load(thing("b", "box", true));
        t.loaded(Wants {
            keys: BTreeSet::new(),
            groups: [("box".to_owned(),)].into(),
            fronts: BTreeMap::new(),
        });
        t.put(thing("a", "box", false)).unwrap();
        t.remove(&("b".to_owned(),)).unwrap();
        t.insert(thing("c", "box", true));
        t.insert(thing("d", "box", true));
        t.remove(&("d".to_owned(),)).unwrap();
        let open: Vec<_> = t.group(&("box".to_owned(),)).unwrap().iter().map(|r| r.id.clone()).collect();
        assert_eq!(open, ["c"]);
        let kinds: Vec<_> = t
            .changes()
            .iter()
            .map(|c| match c {
                Change::Insert(_) => "insert",
                Change::Update(_) => "update",
                Change::Delete(_) => "delete",
            })
            .collect();
        assert_eq!(kinds, ["update", "delete", "insert"]);
    }

    #[test]
    fn the_front_of_a_group_is_read_in_order_and_only_as_far_as_it_is_known() {
        let at = |id: &str, order| Thing {
            order,
            ..thing(id, "box", true)
        };
        let ids = |found: Step<Vec<Arc<Thing>>>| found.map(|v| v.iter().map(|r| r.id.clone()).collect::<Vec<_>>());
        let boxed = ("box".to_owned(),);
        let mut t = Table::<Thing>::partial();
        assert!(matches!(t.first(&boxed, 2, 100), Err(Stop::Missing)));
        let wants = t.take_wants();
        assert_eq!(wants.fronts[&boxed], (2, 100));
        t.load(at("a", 30));
        t.load(at("b", 10));
        t.front_loaded(boxed.clone(), (2, 100), Some(&at("a", 30)));
        assert_eq!(ids(t.first(&boxed, 2, 100)).unwrap(), ["b", "a"]);
        // A new row behind the horizon is not seen: one that is not loaded may stand before it.
        t.insert(at("z", 40));
        t.put(Thing {
            open: false,
            ..at("b", 10)
        })
        .unwrap();
        assert!(matches!(t.first(&boxed, 2, 100), Err(Stop::Missing)));
        assert_eq!(t.take_wants().fronts[&boxed], (4, 100));
        t.front_loaded(boxed.clone(), (4, 100), None);
        assert_eq!(ids(t.first(&boxed, 2, 100)).unwrap(), ["a", "z"]);
        assert_eq!(ids(t.first(&boxed, 2, 35)).unwrap(), ["a"]);
    }

    #[test]
    fn a_row_goes_through_its_cells() {
        let row = Thing {
            n: Some(-3),
            ..thing("a", "box", true)
        };
        assert_eq!(Thing::from_cells(Cells::new(row.cells())).unwrap(), row);
        assert_eq!(
            Thing::COLUMNS[0],
            Column {
                name: "id",
                kind: super::super::Kind::Text,
                fixed: true
            }
        );
        let broken = vec![Cell::Int(1), Cell::Null, Cell::Null, Cell::Null, Cell::Null];
        assert_eq!(Thing::from_cells(Cells::new(broken)).unwrap_err().place(), Some("t.id"));
    }
}
