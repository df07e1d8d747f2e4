//! Grades: the account score as a letter, and its cell in the grid of fit and engagement.

use serde::{Deserialize, Serialize};
use std::fmt;
use thiserror::Error;

/// The letter of an account score: how much of what is possible it reaches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Grade {
    /// 80 % or more.
    A,
    /// 60 % or more.
    B,
    /// 40 % or more.
    C,
    /// 20 % or more.
    D,
    /// Less, or disqualified.
    F,
}

/// The lowest percentage of each grade but the last.
const BOUNDS: [(Grade, i64); 4] = [(Grade::A, 80), (Grade::B, 60), (Grade::C, 40), (Grade::D, 20)];

impl Grade {
    /// Every grade, best first.
    pub const ALL: [Self; 5] = [Self::A, Self::B, Self::C, Self::D, Self::F];

    /// The grade of a score out of what is possible. Nothing possible, or a rule that disqualifies, is an F.
    pub fn of(score: i64, possible: i64, disqualified: bool) -> Self {
        if disqualified || possible <= 0 {
            return Self::F;
        }
        let reached = |percent: i64| i128::from(score) * 100 >= i128::from(possible) * i128::from(percent);
        BOUNDS.iter().find(|(_, percent)| reached(*percent)).map_or(Self::F, |(grade, _)| *grade)
    }

    /// The lowest percentage of what is possible that has this grade.
    pub fn least_percent(self) -> i64 {
        BOUNDS.iter().find(|(grade, _)| *grade == self).map_or(0, |(_, percent)| *percent)
    }

    /// The letter.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::A => "A",
            Self::B => "B",
            Self::C => "C",
            Self::D => "D",
            Self::F => "F",
        }
    }

    /// Reads the letter.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|grade| grade.as_str() == text)
    }
}

impl fmt::Display for Grade {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Where an account stands in the grid: its grade, and the place of its engagement level counted from the top, 1 for the highest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct GridCell {
    /// The row.
    pub grade: Grade,
    /// The column, from 1.
    pub column: u8,
}

/// Why a text names no cell.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error(
    "grid cell must be a grade (A, B, C, D or F) and the number of an engagement level from the top (1 to 20), such as `A1`, got `{got}`"
)]
pub struct GridCellError {
    /// What was found, shortened.
    pub got: String,
}

impl GridCell {
    /// The cell of a grade and an engagement level, given by its place from the top, 0 for the highest.
    pub fn of(grade: Grade, from_top: usize) -> Self {
        Self { grade, column: u8::try_from(from_top.saturating_add(1)).unwrap_or(u8::MAX) }
    }

    /// Reads a letter and a number, as in `A1`.
    pub fn parse(text: &str) -> Result<Self, GridCellError> {
        let cell = || {
            let (letter, number) = text.split_at_checked(1)?;
            let plain = number.bytes().all(|digit| digit.is_ascii_digit()) && !number.starts_with('0');
            let column = number.parse().ok().filter(|column| plain && (1..=20).contains(column))?;
            Some(Self { grade: Grade::parse(letter)?, column })
        };
        cell().ok_or_else(|| GridCellError { got: text.chars().take(20).collect() })
    }
}

impl TryFrom<String> for GridCell {
    type Error = GridCellError;
    fn try_from(text: String) -> Result<Self, GridCellError> {
        Self::parse(&text)
    }
}

impl From<GridCell> for String {
    fn from(cell: GridCell) -> String {
        cell.to_string()
    }
}

impl fmt::Display for GridCell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.grade, self.column)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_grade_is_the_part_of_what_is_possible_in_fifths() {
        // 80 % of 145 is 116, 60 % is 87, 40 % is 58, 20 % is 29.
        let by_hand =
            [(145, "A"), (116, "A"), (115, "B"), (87, "B"), (86, "C"), (58, "C"), (57, "D"), (50, "D"), (29, "D"), (28, "F"), (0, "F")];
        for (score, grade) in by_hand {
            assert_eq!(Grade::of(score, 145, false).as_str(), grade, "{score}");
        }
        assert_eq!(Grade::of(100, 100, false), Grade::A);
        assert_eq!(Grade::of(145, 145, true), Grade::F);
        assert_eq!(Grade::of(0, 0, false), Grade::F);
        assert_eq!(Grade::of(i64::MAX, i64::MAX, false), Grade::A);
    }

    #[test]
    fn a_cell_is_a_letter_and_a_number_from_the_hottest_on() {
        // 116 of 145 is an A; `hot` is the second level from the top.
        assert_eq!(GridCell::of(Grade::of(116, 145, false), 1).to_string(), "A2");
        assert_eq!(serde_json::to_string(&GridCell::of(Grade::F, 3)).unwrap(), "\"F4\"");
        assert_eq!(GridCell::parse("B12"), Ok(GridCell { grade: Grade::B, column: 12 }));
        for wrong in ["", "A", "A0", "A01", "E1", "a1", "1A", "A21", "A+1", "Ä1", "A1 "] {
            assert!(GridCell::parse(wrong).is_err(), "{wrong}");
        }
        assert_eq!(
            GridCell::parse("E1").unwrap_err().to_string(),
            "grid cell must be a grade (A, B, C, D or F) and the number of an engagement level from the top (1 to 20), such as `A1`, got `E1`"
        );
    }

    proptest! {
        #[test]
        fn a_cell_reads_as_it_is_shown(row in 0_usize..5, place in 0_usize..20) {
            let cell = GridCell::of(Grade::ALL[row], place);
            prop_assert_eq!(GridCell::parse(&cell.to_string()), Ok(cell));
            let stored = serde_json::to_string(&cell).unwrap();
            prop_assert_eq!(serde_json::from_str::<GridCell>(&stored).unwrap(), cell);
        }

        #[test]
        fn a_higher_score_never_has_a_worse_grade(score in -50_i64..400, more in 0_i64..100, possible in 0_i64..300) {
            prop_assert!(Grade::of(score + more, possible, false) <= Grade::of(score, possible, false));
        }
    }
}
