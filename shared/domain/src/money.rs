//! Money, in whole millionths of the provider's currency, whichever that is.
//!
//! A float cannot hold a price of 0.1, and an invoice of a million lines would show it. Amounts are
//! parsed from their decimal text, added and multiplied as integers, and written as decimal text
//! again.

use std::fmt;
use std::iter::Sum;
use std::ops::{Add, Mul};
use std::str::FromStr;

use serde::de::{Error, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

const PER_UNIT: i128 = 1_000_000;
const DECIMALS: usize = 6;
/// Decimals that are always written, as people write prices.
const DECIMALS_SHOWN: usize = 2;
/// Digits before the point: with so many, no product with a count overflows.
const UNIT_DIGITS_MAX: usize = 12;
/// Digits of a JSON number, which is a float on its way here: up to so many, its shortest text is
/// what was written.
const JSON_DIGITS_MAX: usize = 15;

/// An amount of money, or a price.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Money(i128);

/// The text is not an amount of money.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "must be a decimal number, e.g. 0.05, of at most {UNIT_DIGITS_MAX} digits before the point and {DECIMALS} after it"
)]
pub struct NotMoney;

impl Money {
    pub fn is_negative(self) -> bool {
        self.0 < 0
    }
}

impl FromStr for Money {
    type Err = NotMoney;

    fn from_str(text: &str) -> Result<Self, NotMoney> {
        let (sign, digits) = text
            .strip_prefix('-')
            .map_or((1, text), |digits| (-1, digits));
        let (units, decimals) = digits.split_once('.').unwrap_or((digits, "0"));
        let all_digits =
            |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        // Decimals beyond a millionth are harmless as long as they are zeros.
        let counting = decimals.trim_end_matches('0');
        if !all_digits(units)
            || !all_digits(decimals)
            || units.len() > UNIT_DIGITS_MAX
            || counting.len() > DECIMALS
        {
            return Err(NotMoney);
        }
        let units: i128 = units.parse().map_err(|_| NotMoney)?;
        let millionths: i128 = format!("{counting:0<DECIMALS$}")
            .parse()
            .map_err(|_| NotMoney)?;
        Ok(Self(sign * (units * PER_UNIT + millionths)))
    }
}

impl fmt::Display for Money {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.0 < 0 { "-" } else { "" };
        let (units, millionths) = (
            self.0.unsigned_abs() / PER_UNIT as u128,
            self.0.unsigned_abs() % PER_UNIT as u128,
        );
        let decimals = format!("{millionths:0DECIMALS$}");
        let shown = decimals.trim_end_matches('0').len().max(DECIMALS_SHOWN);
        write!(f, "{sign}{units}.{}", &decimals[..shown])
    }
}

impl Add for Money {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }
}

impl Sum for Money {
    fn sum<I: Iterator<Item = Self>>(amounts: I) -> Self {
        amounts.fold(Self::default(), Add::add)
    }
}

/// A price times how often it is paid.
impl Mul<i64> for Money {
    type Output = Self;

    fn mul(self, times: i64) -> Self {
        Self(self.0.saturating_mul(times.into()))
    }
}

impl Serialize for Money {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Money {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Text)
    }
}

/// Takes a decimal text or a JSON number.
struct Text;

impl Visitor<'_> for Text {
    type Value = Money;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a decimal number")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Money, E> {
        text.parse().map_err(E::custom)
    }

    fn visit_u64<E: Error>(self, units: u64) -> Result<Money, E> {
        self.visit_str(&units.to_string())
    }

    fn visit_i64<E: Error>(self, units: i64) -> Result<Money, E> {
        self.visit_str(&units.to_string())
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<Money, E> {
        let text = number.to_string();
        match text.bytes().filter(u8::is_ascii_digit).count() {
            0..=JSON_DIGITS_MAX => self.visit_str(&text),
            _ => Err(E::custom(
                "has more digits than a JSON number can hold: write it as a string",
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    fn money(text: &str) -> Money {
        text.parse().unwrap()
    }

    #[test]
    fn an_amount_is_read_to_the_millionth_and_nothing_else_is() {
        for (text, shown) in [
            ("0.05", "0.05"),
            ("7", "7.00"),
            ("-0.5", "-0.50"),
            ("0.0000010", "0.000001"),
        ] {
            assert_eq!(money(text).to_string(), shown);
            assert_eq!(
                serde_json::from_value::<Money>(json!(text)).unwrap(),
                money(text)
            );
        }
        for text in [
            "",
            "-",
            ".5",
            "5.",
            "1e3",
            "+1",
            " 1",
            "1,5",
            "0x1",
            "0.0000001",
            "1234567890123",
            "٣",
            "--1",
        ] {
            assert_eq!(text.parse::<Money>(), Err(NotMoney), "{text}");
        }
        for value in [
            json!(null),
            json!(true),
            json!([1]),
            json!(0.000_000_1),
            json!(123_456_789_012.345_67),
        ] {
            assert!(
                serde_json::from_value::<Money>(value.clone()).is_err(),
                "{value}"
            );
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_again(millionths in -10_i128.pow(18) + 1..10_i128.pow(18)) {
            let money = Money(millionths);
            prop_assert_eq!(money.to_string().parse::<Money>(), Ok(money));
            prop_assert_eq!(serde_json::from_value::<Money>(json!(money)).unwrap(), money);
        }

        /// A JSON number is the same amount as its text, although it arrives as a float.
        #[test]
        fn a_json_number_is_exact(millionths in -10_i64.pow(15) + 1..10_i64.pow(15)) {
            let sign = if millionths < 0 { "-" } else { "" };
            let units = millionths.abs() / 1_000_000;
            let text = format!("{sign}{units}.{:06}", millionths.abs() % 1_000_000);
            let number: Value = serde_json::from_str(&text).unwrap();
            prop_assert_eq!(serde_json::from_value::<Money>(number).unwrap(), Money(millionths.into()));
        }

        #[test]
        fn sums_and_products_lose_nothing(price in 0_i64..10_i64.pow(12), times in 0_usize..200) {
            let price = Money(price.into());
            prop_assert_eq!(std::iter::repeat_n(price, times).sum::<Money>(), price * times as i64);
        }

        #[test]
        fn any_text_is_money_or_refused(text in ".{0,30}") {
            let _ = text.parse::<Money>();
        }
    }
}
