//! Conditions: tests on fields, joined by AND and OR.

use crate::{
    Day, Timestamp,
    field::{FieldName, Number},
};
use serde_json::Value;
use std::fmt;

/// When a rule applies. In JSON `{"all": […]}`, `{"any": […]}` or `{"field", "op", "value"}`.
#[derive(Debug, Clone, PartialEq)]
pub enum Condition {
    /// Every one of these holds.
    All(Vec<Condition>),
    /// At least one of these holds.
    Any(Vec<Condition>),
    /// A field passes a test.
    Test(Test),
    /// What could not be read. It is kept as it was, and never holds.
    Faulty {
        /// What is wrong with it.
        reason: String,
        /// The condition as it was written.
        raw: Value,
    },
}

/// A test on one field.
#[derive(Debug, Clone, PartialEq)]
pub struct Test {
    /// The field.
    pub field: FieldName,
    /// What it is compared with, and how.
    pub operation: Operation,
}

/// A comparison. Texts are compared without regard to case, countries and industries by their alias tables. On a list, a comparison holds
/// when it holds for an item; its negation when it holds for no item.
#[derive(Debug, Clone, PartialEq)]
pub enum Operation {
    /// Equal to the value.
    Eq(Scalar),
    /// Known, and not equal to the value.
    Neq(Scalar),
    /// Greater, or later than all of the moment.
    Gt(Ordered),
    /// Greater or equal.
    Gte(Ordered),
    /// Smaller, or earlier.
    Lt(Ordered),
    /// Smaller or equal.
    Lte(Ordered),
    /// From the first to the second, both included.
    Between(Ordered, Ordered),
    /// Equal to one of the values.
    In(Vec<Scalar>),
    /// Known, and equal to none of the values.
    NotIn(Vec<Scalar>),
    /// The text holds this one; the list has this item.
    Contains(String),
    /// Known, and not so.
    NotContains(String),
    /// The text begins with this one.
    StartsWith(String),
    /// Something is known.
    Exists,
    /// Nothing is known.
    NotExists,
    /// The date is today or one of so many days before, by UTC days.
    WithinDays(u32),
}

/// A value that a field may equal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scalar {
    /// A text; it also equals a number, a date or a truth value that it spells.
    Text(String),
    /// A number.
    Number(Number),
    /// True or false.
    Bool(bool),
}

/// A value that fields are ordered by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ordered {
    /// A number.
    Number(Number),
    /// A moment or a whole day.
    Moment(Moment),
}

/// A moment, or a UTC day that stands for all of its moments.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// One moment.
    At(Timestamp),
    /// A whole day.
    On(Day),
}

impl Moment {
    /// Reads ISO 8601: a date alone is the whole day.
    pub fn parse(text: &str) -> Option<Self> {
        let at = Timestamp::parse(text)?;
        let text = text.trim();
        let whole = text.len() == 10 && !text.contains([':', 'T', 't', ' ']);
        Some(if whole { Self::On(at.day()) } else { Self::At(at) })
    }

    /// The first moment.
    pub const fn start(self) -> Timestamp {
        match self {
            Self::At(at) => at,
            Self::On(day) => day.start(),
        }
    }

    /// The last moment.
    pub const fn end(self) -> Timestamp {
        match self {
            Self::At(at) => at,
            Self::On(day) => day.plus(1).start().plus_millis(-1),
        }
    }
}

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::At(at) => write!(f, "{at}"),
            Self::On(day) => write!(f, "{day}"),
        }
    }
}

impl Operation {
    /// The word for it in JSON.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Eq(_) => "eq",
            Self::Neq(_) => "neq",
            Self::Gt(_) => "gt",
            Self::Gte(_) => "gte",
            Self::Lt(_) => "lt",
            Self::Lte(_) => "lte",
            Self::Between(..) => "between",
            Self::In(_) => "in",
            Self::NotIn(_) => "not_in",
            Self::Contains(_) => "contains",
            Self::NotContains(_) => "not_contains",
            Self::StartsWith(_) => "starts_with",
            Self::Exists => "exists",
            Self::NotExists => "not_exists",
            Self::WithinDays(_) => "within_days",
        }
    }
}
