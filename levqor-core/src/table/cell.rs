//! What a column can hold: a 64-bit integer, text, or nothing. Both databases have these, with the same meaning.

use std::sync::Arc;

use crate::error::{Error, ErrorKind, Result};
use crate::types::{BatchId, GrantId, HoldId, JobId, MicroCredits, Millis, Tenant, TxnId, WorkerId};

/// One value of a row.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Cell {
    /// SQL NULL.
    Null,
    /// BIGINT.
    Int(i64),
    /// TEXT.
    Text(Arc<str>),
}

/// The type of a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// BIGINT.
    Int,
    /// TEXT.
    Text,
}

/// A type that can be a column.
pub trait CellType: Sized {
    /// The column's type.
    const KIND: Kind;
    /// As stored.
    fn to_cell(&self) -> Cell;
    /// As read; `None` if the stored value is not one of this type.
    fn from_cell(cell: Cell) -> Option<Self>;
}

/// The cells of a row that is being read, taken one after another.
pub struct Cells(std::vec::IntoIter<Cell>);

impl Cells {
    /// The cells in column order.
    pub fn new(cells: Vec<Cell>) -> Self {
        Cells(cells.into_iter())
    }

    /// The next cell as its type.
    pub fn next<T: CellType>(&mut self, column: &str) -> Result<T> {
        self.0.next().and_then(T::from_cell).ok_or_else(|| {
            Error::new(
                ErrorKind::Corrupt,
                "store.corrupt_row",
                "a stored value is not of the type that belongs there",
            )
            .at(column)
            .hint("restore the database from a backup, or find out who else writes into Levqor's tables")
        })
    }
}

/// A key or group: a tuple of columns.
pub trait KeyCells {
    /// Its cells, in order.
    fn cells(&self) -> Vec<Cell>;
}

impl CellType for i64 {
    const KIND: Kind = Kind::Int;
    fn to_cell(&self) -> Cell {
        Cell::Int(*self)
    }
    fn from_cell(cell: Cell) -> Option<Self> {
        match cell {
            Cell::Int(n) => Some(n),
            _ => None,
        }
    }
}

impl CellType for bool {
    const KIND: Kind = Kind::Int;
    fn to_cell(&self) -> Cell {
        Cell::Int(i64::from(*self))
    }
    fn from_cell(cell: Cell) -> Option<Self> {
        match cell {
            Cell::Int(0) => Some(false),
            Cell::Int(1) => Some(true),
            _ => None,
        }
    }
}

impl CellType for Arc<str> {
    const KIND: Kind = Kind::Text;
    fn to_cell(&self) -> Cell {
        Cell::Text(self.clone())
    }
    fn from_cell(cell: Cell) -> Option<Self> {
        match cell {
            Cell::Text(t) => Some(t),
            _ => None,
        }
    }
}

impl CellType for String {
    const KIND: Kind = Kind::Text;
    fn to_cell(&self) -> Cell {
        Cell::Text(self.as_str().into())
    }
    fn from_cell(cell: Cell) -> Option<Self> {
        <Arc<str>>::from_cell(cell).map(|t| t.as_ref().to_owned())
    }
}

impl<T: CellType> CellType for Option<T> {
    const KIND: Kind = T::KIND;
    fn to_cell(&self) -> Cell {
        self.as_ref().map_or(Cell::Null, T::to_cell)
    }
    fn from_cell(cell: Cell) -> Option<Self> {
        match cell {
            Cell::Null => Some(None),
            cell => T::from_cell(cell).map(Some),
        }
    }
}

macro_rules! through {
    (int: $($int:ident),*; text: $($text:ident),*) => {
        $(impl CellType for $int {
            const KIND: Kind = Kind::Int;
            fn to_cell(&self) -> Cell { Cell::Int(self.0) }
            fn from_cell(cell: Cell) -> Option<Self> { i64::from_cell(cell).map($int) }
        })*
        $(impl CellType for $text {
            const KIND: Kind = Kind::Text;
            fn to_cell(&self) -> Cell { Cell::Text(self.shared()) }
            fn from_cell(cell: Cell) -> Option<Self> { <Arc<str>>::from_cell(cell).map($text::stored) }
        })*
    };
}
through!(int: Millis, MicroCredits; text: JobId, BatchId, GrantId, HoldId, TxnId, WorkerId, Tenant);

/// Makes an enum without data a text column, stored by the given names.
#[macro_export]
#[doc(hidden)]
macro_rules! text_enum {
    ($name:ident { $($variant:ident = $text:literal),+ $(,)? }) => {
        impl $name {
            /// The name that is stored and shown.
            pub const fn as_str(self) -> &'static str {
                match self { $($name::$variant => $text),+ }
            }

            /// The value of a name.
            pub fn from_name(text: &str) -> Option<Self> {
                match text { $($text => Some($name::$variant),)+ _ => None }
            }
        }

        impl $crate::table::CellType for $name {
            const KIND: $crate::table::Kind = $crate::table::Kind::Text;
            fn to_cell(&self) -> $crate::table::Cell {
                $crate::table::Cell::Text(self.as_str().into())
            }
            fn from_cell(cell: $crate::table::Cell) -> Option<Self> {
                match cell {
                    $crate::table::Cell::Text(t) => $name::from_name(&t),
                    _ => None,
                }
            }
        }
    };
}

pub use crate::text_enum;

impl KeyCells for () {
    fn cells(&self) -> Vec<Cell> {
        Vec::new()
    }
}
impl<A: CellType> KeyCells for (A,) {
    fn cells(&self) -> Vec<Cell> {
        vec![self.0.to_cell()]
    }
}
impl<A: CellType, B: CellType> KeyCells for (A, B) {
    fn cells(&self) -> Vec<Cell> {
        vec![self.0.to_cell(), self.1.to_cell()]
    }
}
impl<A: CellType, B: CellType, C: CellType> KeyCells for (A, B, C) {
    fn cells(&self) -> Vec<Cell> {
        vec![self.0.to_cell(), self.1.to_cell(), self.2.to_cell()]
    }
}
