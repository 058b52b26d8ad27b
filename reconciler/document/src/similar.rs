//! Finds the known word that is most similar to a misspelt word, for "did you mean".

/// Returns the candidate most similar to `word`, if it is similar enough: at most one letter, or a third of
/// the letters, may be changed, added, left out or swapped. Case, `-` and `_` don't count.
pub fn closest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let folded = fold(word);
    candidates
        .into_iter()
        .filter_map(|candidate| {
            let other = fold(candidate);
            let distance = distance(&folded, &other);
            let allowed = (folded.len().max(other.len()) / 3).max(1);
            (distance <= allowed && distance < other.len()).then_some((distance, candidate))
        })
        .min()
        .map(|(_, candidate)| candidate)
}

fn fold(word: &str) -> Vec<char> {
    word.chars()
        .take(64)
        .filter(|c| *c != '-' && *c != '_')
        .flat_map(char::to_lowercase)
        .collect()
}

/// Computes the Damerau–Levenshtein distance, in which a swap of neighbouring letters counts as one change.
fn distance(a: &[char], b: &[char]) -> usize {
    let mut before: Vec<usize> = Vec::new();
    let mut previous: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, y) in b.iter().enumerate() {
            let mut best = (previous[j] + usize::from(x != y))
                .min(previous[j + 1] + 1)
                .min(row[j] + 1);
            if i > 0 && j > 0 && *x == b[j - 1] && a[i - 1] == *y {
                best = best.min(before[j - 1] + 1);
            }
            row.push(best);
        }
        before = std::mem::replace(&mut previous, row);
    }
    previous[b.len()]
}

#[cfg(test)]
mod tests {
    use super::closest;

    #[test]
    fn typing_errors_are_recognised_and_strangers_are_not() {
        let fields = ["content", "owner", "group", "mode", "restartOn", "state"];
        assert_eq!(closest("contnet", fields), Some("content"));
        assert_eq!(closest("restart_on", fields), Some("restartOn"));
        assert_eq!(closest("onwer", fields), Some("owner"));
        assert_eq!(closest("Mode", fields), Some("mode"));
        assert_eq!(closest("banana", fields), None);
        assert_eq!(closest("", fields), None);
    }
}
