//! Text for the shell, for composites whose programs are scripts.

use plumb_api::Kind;

use super::Part;

/// Quotes a word so that the shell takes it literally.
pub(super) fn quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', r"'\''"))
}

/// Quotes each word, and joins the words with spaces.
pub(super) fn words<S: AsRef<str>>(all: impl IntoIterator<Item = S>) -> String {
    let all: Vec<String> = all.into_iter().map(|word| quoted(word.as_ref())).collect();
    all.join(" ")
}

/// Returns the path of a composite's program.
pub(super) fn path(name: &str) -> String {
    format!("/usr/local/lib/plumb/{name}")
}

/// Creates the file with a composite's program.
pub(super) fn program(name: &str, text: String) -> Part {
    Part::new(Kind::File, path(name))
        .field("owner", "root")
        .field("group", "root")
        .field("mode", "0755")
        .field("content", text)
        .field("validate", vec!["/bin/sh", "-n", "%s"])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_words_for_the_shell() {
        assert_eq!(words(["a b", "it's", "$x"]), r"'a b' 'it'\''s' '$x'");
    }
}
