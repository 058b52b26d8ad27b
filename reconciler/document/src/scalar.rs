//! Resolves plain scalars by the core schema of YAML 1.2, not by YAML 1.1.

use std::sync::Arc;

use crate::node::Value;

/// Returns the value of a plain scalar. `yes`, `no`, `on` and `1_000` are text; numbers keep their spelling.
pub(crate) fn resolve(text: &str) -> Value {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Value::Null,
        "true" | "True" | "TRUE" => return Value::Bool(true),
        "false" | "False" | "FALSE" => return Value::Bool(false),
        _ => {}
    }
    // Most scalars are words, so only those that can begin a number are examined further.
    if !text.starts_with(|c: char| c.is_ascii_digit() || matches!(c, '-' | '+' | '.')) {
        return Value::String(text.into());
    }
    if let Some(number) = integer(text) {
        return Value::Int(number, Arc::from(text));
    }
    match float(text) {
        Some(number) => Value::Float(number, Arc::from(text)),
        None => Value::String(text.into()),
    }
}

fn integer(text: &str) -> Option<i64> {
    if let Some(digits) = text.strip_prefix("0o") {
        return digits_only(digits, |b| (b'0'..=b'7').contains(&b))
            .and_then(|d| i64::from_str_radix(d, 8).ok());
    }
    if let Some(digits) = text.strip_prefix("0x") {
        return digits_only(digits, |b| b.is_ascii_hexdigit())
            .and_then(|d| i64::from_str_radix(d, 16).ok());
    }
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    digits_only(digits, |b| b.is_ascii_digit())?;
    text.parse().ok()
}

fn digits_only(digits: &str, is_digit: impl Fn(u8) -> bool) -> Option<&str> {
    (!digits.is_empty() && digits.bytes().all(is_digit)).then_some(digits)
}

fn float(text: &str) -> Option<f64> {
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    match unsigned {
        ".inf" | ".Inf" | ".INF" => {
            return Some(if text.starts_with('-') {
                f64::NEG_INFINITY
            } else {
                f64::INFINITY
            });
        }
        ".nan" | ".NaN" | ".NAN" if unsigned.len() == text.len() => return Some(f64::NAN),
        _ => {}
    }
    let (mantissa, exponent) = match unsigned.find(['e', 'E']) {
        Some(at) => (&unsigned[..at], Some(&unsigned[at + 1..])),
        None => (unsigned, None),
    };
    if let Some(exponent) = exponent {
        digits_only(exponent.strip_prefix(['-', '+']).unwrap_or(exponent), |b| {
            b.is_ascii_digit()
        })?;
    }
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let all_digits = |part: &str| part.bytes().all(|b| b.is_ascii_digit());
    if !all_digits(whole) || !all_digits(fraction) || (whole.is_empty() && fraction.is_empty()) {
        return None;
    }
    text.parse().ok()
}

/// True if a number has a leading zero, which some readers take as octal and others as decimal.
pub(crate) fn has_leading_zero(raw: &str) -> bool {
    let digits = raw.strip_prefix(['-', '+']).unwrap_or(raw);
    digits.len() > 1 && digits.starts_with('0') && digits.bytes().all(|b| b.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_core_schema_and_nothing_else() {
        for text in [
            "yes",
            "no",
            "on",
            "1_000",
            "1.2.3",
            "0o9",
            "-",
            "+",
            ".",
            "1e",
            "12:30",
            "0x",
            "::1",
            "1.2.3.4",
            "-e",
            "2026-01-01",
        ] {
            assert!(matches!(resolve(text), Value::String(_)), "{text}");
        }
        for (text, number) in [
            ("0", 0),
            ("-7", -7),
            ("+7", 7),
            ("0644", 644),
            ("0o17", 15),
            ("0xff", 255),
        ] {
            assert!(
                matches!(resolve(text), Value::Int(n, _) if n == number),
                "{text}"
            );
        }
        for text in [
            "1.10",
            ".5",
            "1.",
            "1e3",
            "-2.5E-3",
            ".inf",
            "99999999999999999999",
        ] {
            assert!(
                matches!(resolve(text), Value::Float(_, raw) if &*raw == text),
                "{text}"
            );
        }
        assert!(has_leading_zero("0644") && !has_leading_zero("0") && !has_leading_zero("0.5"));
    }
}
