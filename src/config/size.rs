//! A bound on what a YAML text becomes: with anchors, a short text can stand for more values than memory
//! holds.

use std::cell::Cell;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, EnumAccess, Error, MapAccess, SeqAccess, VariantAccess as _, Visitor};

/// More than any text within the bound on its length has without repeating itself by anchors.
const MOST_VALUES: u32 = 300_000;

/// Says whether the first document of `text` is too large to be built. A text that is no YAML is not.
pub(super) fn is_too_large(text: &str) -> bool {
    let left = Cell::new(MOST_VALUES);
    let Some(document) = serde_yaml::Deserializer::from_str(text).next() else {
        return false;
    };
    let walked = Count(&left).deserialize(document);
    walked.is_err() && left.get() == 0
}

/// Walks over values without keeping any, and fails when none are left to be had.
#[derive(Clone, Copy)]
struct Count<'a>(&'a Cell<u32>);

impl Count<'_> {
    fn one<E: Error>(self) -> Result<(), E> {
        self.take(1)
    }

    fn take<E: Error>(self, values: u32) -> Result<(), E> {
        let left = self.0.get().saturating_sub(values);
        self.0.set(left);
        if left == 0 { Err(E::custom("too many values")) } else { Ok(()) }
    }
}

impl<'de> DeserializeSeed<'de> for Count<'_> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Count<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }
    fn visit_bool<E: Error>(self, _: bool) -> Result<(), E> {
        self.one()
    }
    fn visit_i64<E: Error>(self, _: i64) -> Result<(), E> {
        self.one()
    }
    fn visit_u64<E: Error>(self, _: u64) -> Result<(), E> {
        self.one()
    }
    fn visit_f64<E: Error>(self, _: f64) -> Result<(), E> {
        self.one()
    }
    /// A long text takes as much room as many values.
    fn visit_str<E: Error>(self, text: &str) -> Result<(), E> {
        self.take(u32::try_from(1 + text.len() / 64).unwrap_or(u32::MAX))
    }
    fn visit_unit<E: Error>(self) -> Result<(), E> {
        self.one()
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        self.one()?;
        while list.next_element_seed(self)?.is_some() {}
        Ok(())
    }
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        self.one()?;
        while map.next_entry_seed(self, self)?.is_some() {}
        Ok(())
    }
    fn visit_enum<A: EnumAccess<'de>>(self, tagged: A) -> Result<(), A::Error> {
        let ((), value) = tagged.variant_seed(self)?;
        value.newtype_variant_seed(self)
    }
}
