//! Rows and the working set.
//!
//! Domains define their rows with [`row!`] and change them through a [`Table`], which is a plain map
//! with an undo log. The memory backend keeps complete tables for ever; the SQL backend fills an
//! incomplete one with the rows that a group of batches asks for, lets the same rules run over it, and
//! writes back what changed. A rule that asks for a row that was not loaded yet is stopped with
//! [`Stop::Missing`], the row is loaded, and the rule runs again: so a rule can never mistake
//! "not loaded" for "does not exist".

mod cell;
mod set;

pub use cell::{Cell, CellType, Cells, KeyCells, Kind, text_enum};
pub use set::{Change, Rank, Row, Slot, Step, Stop, Table, Wants};

/// A column of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Column {
    /// Its name in the database.
    pub name: &'static str,
    /// What it holds.
    pub kind: Kind,
    /// Written once, when the row is made; left out of updates.
    pub fixed: bool,
}

/// Defines a row: a plain struct that can be stored.
///
/// `key` names the fields that identify it, `group` (optional) the fields by which rows are loaded
/// together, and the condition under which a row is in its group; `open` (optional) the same condition in
/// SQL, written like the partial index that serves it; `rank` (optional) the integer column by
/// which a group is read from its front; `lock` says that two processes that
/// change the same row must queue (in Postgres it is selected `FOR UPDATE`).
#[macro_export]
#[doc(hidden)]
macro_rules! row {
    (
        $(#[$doc:meta])*
        pub struct $name:ident in $table:literal {
            $( $(#[$fdoc:meta])* $field:ident : $ty:ty $(, $fixed:ident)? ; )*
        }
        key($($key:ident : $kty:ty),+)
        group($($group:ident : $gty:ty),*) when |$row:ident| $cond:expr;
        $(open $open:literal;)?
        $(rank $rank:ident;)?
        lock $lock:literal
    ) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
        pub struct $name {
            $( $(#[$fdoc])* pub $field: $ty, )*
        }

        impl $crate::table::Row for $name {
            type Key = ($($kty,)+);
            type Group = ($($gty,)*);
            const TABLE: &'static str = $table;
            const COLUMNS: &'static [$crate::table::Column] = &[
                $( $crate::table::Column {
                    name: stringify!($field),
                    kind: <$ty as $crate::table::CellType>::KIND,
                    fixed: $crate::row!(@fixed $($fixed)?),
                }, )*
            ];
            const KEY: &'static [&'static str] = &[$(stringify!($key)),+];
            const GROUP: &'static [&'static str] = &[$(stringify!($group)),*];
            const OPEN: &'static str = $crate::row!(@open $($open)?);
            const RANK: Option<&'static str> = $crate::row!(@rank $($rank)?);
            const LOCK: bool = $lock;

            $(fn rank(&self) -> i64 {
                $crate::table::Rank::rank(&self.$rank)
            })?

            fn key(&self) -> Self::Key {
                ($(self.$key.clone(),)+)
            }

            fn group(&self) -> Option<Self::Group> {
                let $row = self;
                if $cond { Some(($(self.$group.clone(),)*)) } else { None }
            }

            fn cells(&self) -> Vec<$crate::table::Cell> {
                vec![$( $crate::table::CellType::to_cell(&self.$field) ),*]
            }

            fn from_cells(mut cells: $crate::table::Cells) -> $crate::error::Result<Self> {
                Ok($name { $( $field: cells.next(concat!($table, ".", stringify!($field)))? ),* })
            }
        }
    };
    (@fixed fixed) => { true };
    (@fixed) => { false };
    (@open $open:literal) => { $open };
    (@open) => { "1 = 1" };
    (@rank $rank:ident) => { Some(stringify!($rank)) };
    (@rank) => { None };
}

pub use crate::row;
