//! Named numbers of a step or an epoch, and their form for people.

use std::borrow::Cow;
use std::fmt;

use serde::de::{MapAccess, Visitor};
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A number that a task reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Measure {
    /// Its name in files, such as `top1`.
    pub name: &'static str,
    /// Its name for people, such as `top-1`.
    pub label: &'static str,
    /// Whether it is a share, from 0 to 1, which people read as a percentage.
    pub is_share: bool,
    /// Whether a higher number is better.
    pub higher_is_better: bool,
}

impl Measure {
    /// Whether a number is better than another. Any number is better than NaN.
    pub fn is_better(&self, number: f64, than: f64) -> bool {
        !number.is_nan() && (than.is_nan() || if self.higher_is_better { number > than } else { number < than })
    }

    /// The better of two numbers, the first if they are equal.
    pub fn better(&self, first: f64, second: f64) -> f64 {
        if self.is_better(second, first) { second } else { first }
    }

    /// A number as charts show it: shares in percent.
    pub fn scaled(&self, number: f64) -> f64 {
        if self.is_share { 100.0 * number } else { number }
    }

    /// A number for people: `81.25 %`, `0.413`.
    pub fn text(&self, number: f64) -> String {
        self.scaled_text(self.scaled(number))
    }

    /// As [`Self::text`], for a number from [`Self::scaled`].
    pub(super) fn scaled_text(&self, number: f64) -> String {
        if self.is_share { format!("{number:.2} %") } else { format!("{number:.3}") }
    }

    /// As [`Self::text`] with one digit less, for numbers that change all the time.
    pub fn short_text(&self, number: f64) -> String {
        if self.is_share { format!("{:.1} %", 100.0 * number) } else { format!("{number:.2}") }
    }

    /// The label with its unit: `top-1, %`.
    pub fn label_with_unit(&self) -> String {
        format!("{}{}", self.label, if self.is_share { ", %" } else { "" })
    }
}

/// Numbers with their names, in an order.
///
/// In JSON they are members of the enclosing object. NaN and infinity are written as `null`, since JSON has neither,
/// and read as NaN; members that are not numbers are ignored.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Numbers(Vec<(Cow<'static, str>, f64)>);

impl Numbers {
    /// Appends a number.
    pub fn push(&mut self, name: impl Into<Cow<'static, str>>, number: f64) {
        self.0.push((name.into(), number));
    }

    /// Appends a number.
    pub fn with(mut self, name: impl Into<Cow<'static, str>>, number: f64) -> Self {
        self.push(name, number);
        self
    }

    /// The number with this name.
    pub fn get(&self, name: &str) -> Option<f64> {
        self.iter().find(|&(known, _)| known == name).map(|(_, number)| number)
    }

    /// All names and numbers, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, f64)> {
        self.0.iter().map(|(name, number)| (&**name, *number))
    }

    /// Appends other numbers, with a prefix before their names.
    pub(super) fn extend_with_prefix(&mut self, prefix: &str, others: &Self) {
        self.0.extend(others.iter().map(|(name, number)| (format!("{prefix}{name}").into(), number)));
    }
}

impl Numbers {
    /// These numbers with losses rounded to f32, as those of steps are.
    pub(super) fn with_single_losses(mut self) -> Self {
        let losses = self.0.iter_mut().filter(|(name, _)| name.ends_with("loss"));
        losses.for_each(|(_, loss)| *loss = short(*loss as f32));
        self
    }
}

/// An f32 as the f64 of the same decimal digits, so that it is written as short as an f32 is.
pub(super) fn short(number: f32) -> f64 {
    number.to_string().parse().unwrap_or(number.into())
}

impl Serialize for Numbers {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let mut map = to.serialize_map(Some(self.0.len()))?;
        for (name, number) in self.iter() {
            map.serialize_entry(name, &number)?;
        }
        map.end()
    }
}

impl<'de> Deserialize<'de> for Numbers {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Members;

        impl<'de> Visitor<'de> for Members {
            type Value = Numbers;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("named numbers")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Numbers, A::Error> {
                let mut numbers = Numbers::default();
                while let Some((name, value)) = map.next_entry::<String, serde_json::Value>()? {
                    match value {
                        serde_json::Value::Null => numbers.push(name, f64::NAN),
                        value => value.as_f64().into_iter().for_each(|number| numbers.push(name.clone(), number)),
                    }
                }
                Ok(numbers)
            }
        }

        from.deserialize_map(Members)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
pub(super) mod tests {
    use super::*;

    /// The goal in tests of the trainer.
    pub(in crate::train) const GOAL: Measure =
        Measure { name: "top1", label: "top-1", is_share: true, higher_is_better: true };

    #[test]
    fn numbers_keep_their_order_and_their_bits() {
        let numbers = Numbers::default()
            .with("b", short(0.1))
            .with("a", 1.0 / 3.0)
            .with("share", 535.0 / 1024.0)
            .with("lost", f64::NAN);
        let text = serde_json::to_string(&numbers).unwrap();
        assert_eq!(text, r#"{"b":0.1,"a":0.3333333333333333,"share":0.5224609375,"lost":null}"#);
        let read: Numbers = serde_json::from_str(&text.replace('}', r#","word":"x"}"#)).unwrap();
        assert_eq!(read.get("b").map(|b| b as f32), Some(0.1));
        assert_eq!((read.get("a"), read.get("share"), read.get("word")), (Some(1.0 / 3.0), Some(535.0 / 1024.0), None));
        assert!(read.get("lost").unwrap().is_nan());
        assert_eq!(serde_json::to_string(&read).unwrap(), text);
    }

    #[test]
    fn better_has_a_direction() {
        let high = GOAL;
        let low = Measure { name: "rmse", label: "RMSE", is_share: false, higher_is_better: false };
        assert!(high.is_better(0.5, 0.25) && !high.is_better(0.25, 0.5) && !high.is_better(0.5, 0.5));
        assert!(low.is_better(0.25, 0.5) && !low.is_better(f64::NAN, 0.5) && low.is_better(0.5, f64::NAN));
        assert_eq!((high.better(0.25, 0.5), low.better(0.25, 0.5)), (0.5, 0.25));
        assert_eq!((high.text(0.8125), low.text(0.4131)), ("81.25 %".to_owned(), "0.413".to_owned()));
    }
}
