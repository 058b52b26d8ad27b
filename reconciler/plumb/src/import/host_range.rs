//! The ranges in names of Ansible's hosts: `web[01:03].fleet.example`, `db-[a:c]`.

/// Maximum number of hosts that one name may stand for.
const MOST: usize = 10_000;

/// Returns the names that a name with ranges stands for.
///
/// # Errors
/// Returns the reason if a range can't be read.
pub(super) fn expand(pattern: &str) -> Result<Vec<String>, String> {
    let Some((before, rest)) = pattern.split_once('[') else {
        return Ok(vec![pattern.to_owned()]);
    };
    let wrong = || format!("`{pattern}` has a range that isn't like [01:20] or [a:f]");
    let (range, after) = rest.split_once(']').ok_or_else(wrong)?;
    let mut parts = range.split(':');
    let (Some(first), Some(last)) = (parts.next(), parts.next()) else {
        return Err(wrong());
    };
    let step = match parts.next() {
        Some(step) => step.parse().ok().filter(|step| *step > 0),
        None => Some(1),
    };
    let step: usize = step.ok_or_else(wrong)?;
    let values: Vec<String> = match (first.parse::<usize>(), last.parse::<usize>()) {
        (Ok(begin), Ok(end)) if begin <= end && (end - begin) / step < MOST => (begin..=end)
            .step_by(step)
            .map(|number| format!("{number:0width$}", width = padding(first)))
            .collect(),
        _ => letters(first, last, step).ok_or_else(wrong)?,
    };
    let mut names = Vec::new();
    for after in expand(after)? {
        names.extend(values.iter().map(|value| format!("{before}{value}{after}")));
    }
    if names.len() > MOST {
        return Err(format!("`{pattern}` stands for more than {MOST} hosts"));
    }
    names.sort();
    Ok(names)
}

/// Returns the number of digits if the first number begins with a zero.
fn padding(first: &str) -> usize {
    if first.starts_with('0') {
        first.len()
    } else {
        0
    }
}

fn letters(first: &str, last: &str, step: usize) -> Option<Vec<String>> {
    let ([first], [last]) = (first.as_bytes(), last.as_bytes()) else {
        return None;
    };
    let same_case = first.is_ascii_lowercase() == last.is_ascii_lowercase();
    let letters = first.is_ascii_alphabetic() && last.is_ascii_alphabetic();
    (letters && same_case && first <= last).then(|| {
        let all = (*first..=*last).step_by(step);
        all.map(|letter| char::from(letter).to_string()).collect()
    })
}

#[cfg(test)]
mod tests {
    use super::expand;

    #[test]
    fn ranges_of_numbers_and_letters_are_expanded() {
        assert_eq!(expand("web").unwrap(), ["web"]);
        assert_eq!(expand("w[08:10].x").unwrap(), ["w08.x", "w09.x", "w10.x"]);
        assert_eq!(expand("w[1:5:2]").unwrap(), ["w1", "w3", "w5"]);
        assert_eq!(expand("[a:b][1:2]").unwrap(), ["a1", "a2", "b1", "b2"]);
    }

    #[test]
    fn a_range_that_cant_be_read_is_an_error() {
        for wrong in [
            "w[1",
            "w[1]",
            "w[3:1]",
            "w[a:Z]",
            "w[1:2:0]",
            "w[0:99999999]",
        ] {
            assert!(expand(wrong).is_err(), "{wrong}");
        }
    }
}
