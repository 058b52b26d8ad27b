//! Values: the forms in which the kernel reads and writes numbers and lists.

/// Replaces each run of white space with one space, because the kernel prints tabs.
pub(super) fn fold(value: &str) -> String {
    value.split_ascii_whitespace().collect::<Vec<_>>().join(" ")
}

/// True if the kernel reads two texts as the same value.
pub(super) fn same(one: &str, other: &str) -> bool {
    let mut one = one.split_ascii_whitespace();
    let mut other = other.split_ascii_whitespace();
    loop {
        match (one.next(), other.next()) {
            (None, None) => return true,
            (Some(one), Some(other)) if one == other => {}
            (Some(one), Some(other)) => {
                let numbers = number(one).is_some() && number(one) == number(other);
                let lists = || ranges(one).is_some() && ranges(one) == ranges(other);
                if !numbers && !lists() {
                    return false;
                }
            }
            _ => return false,
        }
    }
}

/// Reads an integer as `strtol` does: hexadecimal after `0x`, octal after `0`.
fn number(text: &str) -> Option<i128> {
    let (sign, digits) = match text.strip_prefix('-') {
        Some(digits) => (-1, digits),
        None => (1, text),
    };
    let plain = |digits: &str, base| {
        let signed = digits.starts_with(['+', '-']);
        i128::from_str_radix(digits, base).ok().filter(|_| !signed)
    };
    let lower = digits.to_ascii_lowercase();
    let value = match (lower.strip_prefix("0x"), lower.strip_prefix('0')) {
        (Some(hex), _) => plain(hex, 16)?,
        (None, Some(octal)) if !octal.is_empty() => plain(octal, 8)?,
        _ => plain(&lower, 10)?,
    };
    Some(sign * value)
}

/// Parses a list of numbers and ranges, such as `8443,8080-8081`, to sorted ranges with gaps between them.
fn ranges(text: &str) -> Option<Vec<(u64, u64)>> {
    if !text.contains([',', '-']) {
        return None;
    }
    let mut all = Vec::new();
    for part in text.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        all.push((first.parse::<u64>().ok()?, last.parse::<u64>().ok()?));
    }
    all.sort_unstable();
    let mut merged: Vec<(u64, u64)> = Vec::new();
    for (first, last) in all {
        match merged.last_mut() {
            Some((_, end)) if first <= end.saturating_add(1) => *end = last.max(*end),
            _ => merged.push((first, last)),
        }
    }
    Some(merged)
}

/// Returns the first number with a leading zero, which the kernel reads as octal, and its value (`None` if it
/// isn't valid octal). Returns `None` if the text contains anything but digits and signs.
pub(super) fn octal(value: &str) -> Option<(&str, Option<u64>)> {
    let digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit() || b == b'-');
    value
        .split_ascii_whitespace()
        .all(digits)
        .then(|| value.split_ascii_whitespace())?
        .map(|text| text.trim_start_matches('-'))
        .find(|text| text.len() > 1 && text.starts_with('0'))
        .map(|text| (text, u64::from_str_radix(text, 8).ok()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_of_one_value_are_equal() {
        for (one, other) in [
            ("0x40", "64"),
            ("8443,8080,8081", "8080-8081,8443"),
            ("1-3,2-9", "1-9"),
            ("4096 131072\t6291456", "4096\t131072 6291456"),
            ("", ""),
            ("-1", "-0x1"),
        ] {
            assert!(same(one, other), "{one} isn't {other}");
        }
        for (one, other) in [
            ("64", "65"),
            ("1,2", "1,3"),
            ("1", "1 2"),
            ("", "1"),
            ("reno", "cubic"),
            ("010", "10"),
        ] {
            assert!(!same(one, other), "{one} is {other}");
        }
    }

    #[test]
    fn octal_numbers_are_found_among_numbers_only() {
        assert_eq!(octal("010"), Some(("010", Some(8))));
        assert_eq!(octal("1 -08"), Some(("08", None)));
        for fine in ["0", "10", "0x10", "host 007", ""] {
            assert_eq!(octal(fine), None, "{fine}");
        }
    }
}
