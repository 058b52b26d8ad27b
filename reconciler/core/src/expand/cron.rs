//! `cron`: expands into one file in `/etc/cron.d`.

use plumb_api::resource::CronSpec;

use super::{ExpandContext, Outcome, Part, TypedResource, each};

/// Expands each resource into a file of its own.
pub(super) fn expand(all: &[TypedResource<'_, CronSpec>], _: &ExpandContext<'_>) -> Vec<Outcome> {
    each(all, |one| parts(one.name, one.spec))
}

fn parts(name: &str, spec: &CronSpec) -> Vec<Part> {
    let words: Vec<String> = spec.run.iter().map(|word| quoted(word)).collect();
    let text = format!(
        "# Written by plumb.\n{} {} {}\n",
        spec.schedule,
        spec.user,
        words.join(" ")
    );
    let file = Part::root_file(format!("/etc/cron.d/{name}")).field("content", text);
    let program = spec
        .run
        .first()
        .map(|program| Part::program(&format!("cron-{name}"), program, Some(spec.user.as_str())));
    std::iter::once(file).chain(program).collect()
}

/// Quotes a word for the shell and for cron, where an unescaped `%` ends the command.
fn quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', r"'\''").replace('%', r"\%"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_words_for_shell_and_cron() {
        for (word, written) in [
            ("/usr/bin/x", "'/usr/bin/x'"),
            ("a b", "'a b'"),
            ("it's", r"'it'\''s'"),
            ("+%F", r"'+\%F'"),
        ] {
            assert_eq!(quoted(word), written);
        }
    }
}
