//! Amounts as people write them: a number with at most three decimals, and its unit out of a table.

use std::fmt;

/// Units with what they stand for, in the order in which printing tries them. The last one stands for 1.
pub(super) type Units = [(&'static str, u64)];

/// An amount of at most `most`. The letters of a unit have no case.
pub(super) fn read(text: &str, units: &Units, most: u64) -> Option<u64> {
    let text = text.trim();
    let digits = text.find(|c: char| !(c.is_ascii_digit() || c == '.'))?;
    let (number, unit) = text.split_at(digits);
    let unit = unit.trim_start();
    let (_, unit) = units.iter().find(|(name, _)| name.eq_ignore_ascii_case(unit))?;
    scaled(number, *unit).filter(|amount| *amount <= most)
}

/// Prints an amount in the first unit that divides it; nothing is printed in the last one.
pub(super) fn write(f: &mut fmt::Formatter<'_>, amount: u64, units: &Units) -> fmt::Result {
    let divides = |(_, unit): &&(&str, u64)| amount != 0 && amount.is_multiple_of(*unit);
    let Some((name, unit)) = units.iter().find(divides).or_else(|| units.last()) else { return Ok(()) };
    write!(f, "{}{name}", amount / unit)
}

/// `number`, at most three decimals, times `unit`, rounded down to a whole.
pub(super) fn scaled(number: &str, unit: u64) -> Option<u64> {
    let (whole, decimals) = number.split_once('.').unwrap_or((number, "0"));
    if whole.is_empty() || decimals.is_empty() || decimals.len() > 3 {
        return None;
    }
    let whole: u64 = whole.parse().ok()?;
    let thousandths: u64 = format!("{decimals:0<3}").parse().ok()?;
    whole.checked_mul(unit)?.checked_add(thousandths.checked_mul(unit)? / 1000)
}
