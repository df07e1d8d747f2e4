//! How points fade. The only module with floating point; powers come from `libm`, so that every platform gives the same bits.

use crate::facts::LOOK_BACK_DAYS;
use serde::{Deserialize, Serialize};

/// How the points of an event fade with its age in whole UTC days.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Decay {
    /// They never fade.
    #[default]
    None,
    /// They fade evenly to nothing.
    Linear {
        /// The age in days at which nothing is left, 1 to 3,650.
        days: u32,
    },
    /// They halve again and again.
    HalfLife {
        /// The age in days at which half is left, 1 to 3,650.
        days: u32,
    },
    /// They drop at fixed ages.
    Step {
        /// From which age in days how many percent are left, in order of age.
        steps: Vec<Step>,
    },
}

/// One drop of a stepped decay.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Step {
    /// From this age in days.
    pub from_day: u32,
    /// So many percent are left, 0 to 100.
    pub percent: u32,
}

impl Decay {
    /// What is left of `milli` thousandths of a point at an age of `age` whole days. Rounded to the nearest thousandth, half away
    /// from zero; an event of the future (negative age) has its full points.
    pub fn apply(&self, milli: i64, age: i32) -> i64 {
        let age = i64::from(age.max(0));
        match self {
            Self::None => milli,
            Self::Linear { days } => {
                let days = i64::from((*days).max(1));
                let left = (days - age).max(0);
                divide_rounded(milli.saturating_mul(left), days)
            }
            Self::HalfLife { days } => {
                if age == 0 {
                    return milli;
                }
                rounded_part(milli, left_of_half_life(*days, age))
            }
            Self::Step { steps } => {
                let percent = steps.iter().filter(|step| i64::from(step.from_day) <= age).map(|step| step.percent).min().unwrap_or(100);
                divide_rounded(milli.saturating_mul(i64::from(percent.min(100))), 100)
            }
        }
    }
}

/// A decay whose powers are at hand for every age that is looked at.
#[derive(Debug, Clone)]
pub struct Fading {
    decay: Decay,
    /// By age in days, the part that a half-life leaves.
    left: Vec<f64>,
}

impl Fading {
    /// Prepares a decay.
    pub fn new(decay: &Decay) -> Self {
        let left = match decay {
            Decay::HalfLife { days } => (0..=LOOK_BACK_DAYS).map(|age| left_of_half_life(*days, i64::from(age))).collect(),
            Decay::None | Decay::Linear { .. } | Decay::Step { .. } => Vec::new(),
        };
        Self { decay: decay.clone(), left }
    }

    /// As [`Decay::apply`].
    pub fn apply(&self, milli: i64, age: i32) -> i64 {
        let age_days = usize::try_from(age).unwrap_or_default();
        match self.left.get(age_days) {
            Some(left) if age_days > 0 => rounded_part(milli, *left),
            _ => self.decay.apply(milli, age),
        }
    }
}

fn left_of_half_life(days: u32, age: i64) -> f64 {
    libm::exp2(-(age as f64) / f64::from(days.max(1)))
}

fn rounded_part(milli: i64, part: f64) -> i64 {
    libm::round(milli as f64 * part) as i64
}

/// Divides by a positive number, rounding half away from zero.
pub fn divide_rounded(value: i64, by: i64) -> i64 {
    let by = by.max(1);
    let half = by / 2;
    if value >= 0 { value.saturating_add(half) / by } else { value.saturating_sub(half) / by }
}

/// Thousandths of a point as the whole points that people see: rounded half away from zero.
pub fn shown(milli: i64) -> i64 {
    divide_rounded(milli, 1000)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn half_life_follows_the_table() {
        let decay = Decay::HalfLife { days: 21 };
        // By hand: 1000 · 2^(−age/21).
        for (age, left) in [(0, 1000), (7, 794), (21, 500), (42, 250), (63, 125), (210, 1)] {
            assert_eq!(decay.apply(1000, age), left, "age {age}");
        }
    }

    #[test]
    fn linear_and_step_follow_the_table() {
        let linear = Decay::Linear { days: 10 };
        for (age, left) in [(0, 1000), (1, 900), (5, 500), (10, 0), (99, 0)] {
            assert_eq!(linear.apply(1000, age), left);
        }
        let step = Decay::Step { steps: vec![Step { from_day: 7, percent: 50 }, Step { from_day: 30, percent: 0 }] };
        for (age, left) in [(0, 1000), (6, 1000), (7, 500), (29, 500), (30, 0)] {
            assert_eq!(step.apply(1000, age), left);
        }
    }

    /// A thousand points in thousandths, and what is left of them at some ages. Made outside, with 40 digits:
    ///
    /// ```text
    /// python3 -c "
    /// from decimal import Decimal as D, ROUND_HALF_UP, getcontext
    /// getcontext().prec = 40
    /// up = lambda x: int(x.to_integral_value(ROUND_HALF_UP))
    /// for h in (21, 45, 90):
    ///     print(h, [(a, up(1_000_000 * D(2) ** (D(-a) / h))) for a in (0, 1, 2, 7, 14, 21, 30, 45, 60, 90, 135, 180, 270, 364, 394)])
    /// print(30, [(a, up(1_000_000 * max(D(30 - a), D(0)) / 30)) for a in (0, 1, 2, 7, 10, 14, 15, 20, 28, 29, 30, 31, 394)])"
    /// ```
    const HALF_LIFE_21: [(i32, i64); 15] = [
        (0, 1_000_000),
        (1, 967_532),
        (2, 936_118),
        (7, 793_701),
        (14, 629_961),
        (21, 500_000),
        (30, 371_499),
        (45, 226_431),
        (60, 138_011),
        (90, 51_271),
        (135, 11_609),
        (180, 2_629),
        (270, 135),
        (364, 6),
        (394, 2),
    ];
    const HALF_LIFE_45: [(i32, i64); 15] = [
        (0, 1_000_000),
        (1, 984_715),
        (2, 969_663),
        (7, 897_787),
        (14, 806_021),
        (21, 723_635),
        (30, 629_961),
        (45, 500_000),
        (60, 396_850),
        (90, 250_000),
        (135, 125_000),
        (180, 62_500),
        (270, 15_625),
        (364, 3_673),
        (394, 2_314),
    ];
    const HALF_LIFE_90: [(i32, i64); 15] = [
        (0, 1_000_000),
        (1, 992_328),
        (2, 984_715),
        (7, 947_516),
        (14, 897_787),
        (21, 850_667),
        (30, 793_701),
        (45, 707_107),
        (60, 629_961),
        (90, 500_000),
        (135, 353_553),
        (180, 250_000),
        (270, 125_000),
        (364, 60_604),
        (394, 48_101),
    ];
    const LINEAR_30: [(i32, i64); 13] = [
        (0, 1_000_000),
        (1, 966_667),
        (2, 933_333),
        (7, 766_667),
        (10, 666_667),
        (14, 533_333),
        (15, 500_000),
        (20, 333_333),
        (28, 66_667),
        (29, 33_333),
        (30, 0),
        (31, 0),
        (394, 0),
    ];
    /// By hand: full for a week, 60 percent for another, 25 percent up to the end of the second month, then nothing.
    const STEPS: [(i32, i64); 8] =
        [(0, 1_000_000), (6, 1_000_000), (7, 600_000), (13, 600_000), (14, 250_000), (59, 250_000), (60, 0), (394, 0)];

    #[test]
    fn every_curve_follows_a_table_that_was_made_elsewhere() {
        let step = |from_day, percent| Step { from_day, percent };
        // The order in which drops are written makes no difference.
        let steps = Decay::Step { steps: vec![step(14, 25), step(60, 0), step(7, 60)] };
        let curves: [(Decay, &[(i32, i64)]); 6] = [
            (Decay::HalfLife { days: 21 }, &HALF_LIFE_21),
            (Decay::HalfLife { days: 45 }, &HALF_LIFE_45),
            (Decay::HalfLife { days: 90 }, &HALF_LIFE_90),
            (Decay::Linear { days: 30 }, &LINEAR_30),
            (steps, &STEPS),
            (Decay::None, &[(0, 1_000_000), (394, 1_000_000)]),
        ];
        for (decay, table) in curves {
            let prepared = Fading::new(&decay);
            for (age, left) in table {
                for points in [1_000_000_i64, -1_000_000] {
                    let left = left * points.signum();
                    assert_eq!((decay.apply(points, *age), prepared.apply(points, *age)), (left, left), "{decay:?} at {age} days");
                }
            }
        }
    }

    #[test]
    fn whole_points_round_half_up() {
        assert_eq!((shown(499), shown(500), shown(1499), shown(-500)), (0, 1, 1, -1));
    }

    fn any_decay() -> impl Strategy<Value = Decay> {
        prop_oneof![
            Just(Decay::None),
            (1_u32..400).prop_map(|days| Decay::Linear { days }),
            (1_u32..400).prop_map(|days| Decay::HalfLife { days }),
            proptest::collection::vec((0_u32..400, 0_u32..101), 0..4)
                .prop_map(|steps| Decay::Step { steps: steps.into_iter().map(|(from_day, percent)| Step { from_day, percent }).collect() }),
        ]
    }

    proptest! {
        #[test]
        fn a_prepared_decay_gives_the_same_bits(decay in any_decay(), milli in any::<i64>(), age in -3_i32..500) {
            prop_assert_eq!(Fading::new(&decay).apply(milli, age), decay.apply(milli, age));
        }

        #[test]
        fn decay_never_raises(decay in any_decay(), milli in 0_i64..1_000_000_000, age in 0_i32..500) {
            let today = decay.apply(milli, age);
            let tomorrow = decay.apply(milli, age + 1);
            prop_assert!(0 <= tomorrow && tomorrow <= today && today <= milli);
        }
    }
}
