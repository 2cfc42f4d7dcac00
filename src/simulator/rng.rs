//! Numbers that look random and are the same for the same seed (splitmix64).
//!
//! Absent: anything secret. Ids and delays come from here, and the tokens of [`super::token`], which
//! guard nothing.

use std::time::Duration;

use uuid::Uuid;

/// A seeded generator.
#[derive(Debug, Clone)]
pub(super) struct Rng(u64);

impl Rng {
    pub(super) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(super) const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// A number below `end`; 0 when `end` is 0.
    pub(super) const fn below(&mut self, end: u64) -> u64 {
        match self.next().checked_rem(end) {
            Some(number) => number,
            None => 0,
        }
    }

    /// Whether something of this probability (0 to 1) happens.
    pub(super) fn chance(&mut self, probability: f64) -> bool {
        // 53 bits are what an f64 holds exactly.
        #[allow(clippy::cast_precision_loss)]
        let drawn = (self.next() >> 11) as f64 / (1_u64 << 53) as f64;
        drawn < probability
    }

    /// A duration from `low` up to `high`, in whole microseconds.
    pub(super) fn between(&mut self, low: Duration, high: Duration) -> Duration {
        let spread = u64::try_from(high.saturating_sub(low).as_micros()).unwrap_or(u64::MAX);
        low + Duration::from_micros(self.below(spread.saturating_add(1)))
    }

    /// One of `choices`; `None` when there are none.
    pub(super) fn pick<'a, T>(&mut self, choices: &'a [T]) -> Option<&'a T> {
        let index = usize::try_from(self.below(choices.len() as u64)).unwrap_or(0);
        choices.get(index)
    }

    /// So many hex digits in lower case.
    pub(super) fn hex(&mut self, digits: usize) -> String {
        let mut text = String::with_capacity(digits + 16);
        while text.len() < digits {
            text.push_str(&format!("{:016x}", self.next()));
        }
        text.truncate(digits);
        text
    }

    /// A GUID.
    pub(super) fn guid(&mut self) -> String {
        let number = (u128::from(self.next()) << 64) | u128::from(self.next());
        uuid::Builder::from_random_bytes(number.to_be_bytes()).into_uuid().to_string()
    }
}

/// Whether `text` is a GUID as Microsoft writes them.
pub(super) fn is_guid(text: &str) -> bool {
    text.len() == 36 && Uuid::try_parse(text).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_numbers() {
        let draw = |seed| {
            let mut rng = Rng::new(seed);
            (rng.guid(), rng.hex(40), rng.below(1_000))
        };
        assert_eq!(draw(7), draw(7));
        assert_ne!(draw(7), draw(8));
    }

    #[test]
    fn chances_and_ranges_keep_their_bounds() {
        let mut rng = Rng::new(1);
        assert!((0..1_000).all(|_| !rng.chance(0.0)));
        assert!((0..1_000).all(|_| rng.chance(1.0)));
        let hits = (0..10_000).filter(|_| rng.chance(0.25)).count();
        assert!((2_200..2_800).contains(&hits), "{hits}");
        let (low, high) = (Duration::from_millis(3), Duration::from_millis(5));
        assert!((0..1_000).all(|_| (low..=high).contains(&rng.between(low, high))));
        assert_eq!(rng.below(0), 0);
    }

    #[test]
    fn ids_have_their_form() {
        let mut rng = Rng::new(3);
        assert!(is_guid(&rng.guid()));
        assert_eq!(rng.hex(40).len(), 40);
        assert!(!is_guid("contoso.example"));
    }
}
