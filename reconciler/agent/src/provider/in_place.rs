//! Runs a checker that reads files in their places, such as `nginx -t`, on files that aren't in place yet. In a
//! private mount namespace, copies of the folders with the new files cover the folders themselves.

use std::collections::{BTreeMap, BTreeSet};

use plumb_api::Spec;
use plumb_api::report::{AgentError, ErrorCode};
use plumb_api::resource::{FileSpec, Mode, Presence};

use super::{ApplyContext, ItemChange};
use crate::error::{At, Result, fail};
use crate::sys::{Program, copy_hashed, create_new, split};

/// Subfolder of the agent's folder for the new files, and for the mount of the copies below it.
const FOLDER: &str = "candidates";
const STAGE: &str = "stage";

/// Exit status of the script if it can't put the files in place.
const UNABLE: i32 = 125;

/// Copies folders (`dir FOLDER NUMBER`), puts new files into the copies (`file SOURCE TARGET MODE`), takes files
/// out (`gone TARGET`), covers the folders with the copies (`bind NUMBER FOLDER`) and runs the checker.
const SCRIPT: &str = r#"
stage=$1; shift
mount -t tmpfs -o mode=0700 plumb "$stage" || exit 125
while :; do
    case $1 in
    dir) { mkdir "$stage/$3" && cp -a -- "$2/." "$stage/$3"; } || exit 125; shift 3;;
    file) install -m "$4" -- "$2" "$stage/$3" || exit 125; shift 4;;
    gone) rm -f -- "$stage/$2" || exit 125; shift 2;;
    bind) mount --bind "$stage/$2" "$3" || exit 125; shift 3;;
    *) break;;
    esac
done
shift
exec "$@"
"#;

/// A new file that a checker has to accept.
struct NewFile<'a> {
    /// Its place in the batch.
    place: usize,
    path: &'a str,
    mode: u32,
    /// The path of a copy in the agent's folder.
    copy: String,
}

/// Returns the error of each change of the batch whose new content its checker doesn't accept. The checker sees
/// the new content of all files with the same `validate`. If it doesn't accept all of them together, it sees
/// one more of them at a time, so that only those with a mistake are refused.
pub(super) fn refusals(
    cx: &ApplyContext<'_>,
    work: &[ItemChange<'_>],
) -> Result<BTreeMap<usize, AgentError>> {
    let mut refused = BTreeMap::new();
    let mut checkers: BTreeMap<&[String], Vec<(usize, &FileSpec)>> = BTreeMap::new();
    for (place, change) in work.iter().enumerate() {
        if let Spec::File(spec) = change.spec {
            let is_new = change.changes("content") || change.changes("state");
            if spec.validates_in_place() && spec.state == Presence::Present && is_new {
                checkers
                    .entry(&spec.validate)
                    .or_default()
                    .push((place, spec));
            }
        }
    }
    if checkers.is_empty() || cx.sys.is_sandbox() {
        return Ok(refused);
    }
    let folder = cx.home.folder(FOLDER)?;
    folder.make_directory(STAGE, 0o700)?;
    let gone: Vec<&str> = work
        .iter()
        .filter(|change| change.spec.wants_absent())
        .map(|change| change.address.name())
        .collect();
    for (words, specs) in checkers {
        let mut files = Vec::with_capacity(specs.len());
        for (place, spec) in specs {
            let path = work[place].address.name();
            cx.sys.root().make_parent(path)?;
            files.push(NewFile {
                place,
                path,
                mode: spec.mode.map_or(0o644, Mode::bits),
                copy: copy(cx, spec, path, &place.to_string())?,
            });
        }
        let check = |files: &[&NewFile<'_>]| run(cx, words, files, &gone, &folder.path_of(STAGE));
        let all: Vec<&NewFile<'_>> = files.iter().collect();
        if check(&all)?.is_some() {
            let mut accepted: Vec<&NewFile<'_>> = Vec::new();
            for file in &files {
                accepted.push(file);
                if let Some(complaint) = check(&accepted)? {
                    accepted.pop();
                    refused.insert(file.place, refusal(words, file.path, &complaint));
                }
            }
        }
        for file in &files {
            folder.unlink(&file.place.to_string())?;
        }
    }
    Ok(refused)
}

/// Writes a file's new content to the agent's folder. Returns the path there.
fn copy(cx: &ApplyContext<'_>, spec: &FileSpec, path: &str, leaf: &str) -> Result<String> {
    let folder = cx.home.folder(FOLDER)?;
    let at = folder.path_of(leaf);
    folder.unlink(leaf)?;
    let mut file = create_new(&folder, leaf)?;
    if let Some(content) = &spec.content {
        let written = copy_hashed(&mut cx.content(content, path)?, &mut file).at("write", &at)?;
        if written != *content {
            return fail(
                ErrorCode::MissingContent,
                format!("the content for {path} isn't what its name says"),
            );
        }
    }
    Ok(at)
}

/// Runs the checker with these files in place. Returns its complaint if it doesn't accept them.
fn run(
    cx: &ApplyContext<'_>,
    words: &[String],
    files: &[&NewFile<'_>],
    gone: &[&str],
    stage: &str,
) -> Result<Option<String>> {
    let folders = folders(files.iter().map(|file| file.path));
    let staged = |path: &str| {
        let (number, rest) = folders
            .iter()
            .enumerate()
            .find_map(|(number, folder)| Some((number, below(folder, path)?)))?;
        Some(format!("{number}/{rest}"))
    };
    let mut args: Vec<String> = ["--mount", "--propagation", "private", "--", "sh", "-c"]
        .map(str::to_owned)
        .to_vec();
    args.extend([SCRIPT, "sh", stage].map(str::to_owned));
    let mut add = |words: &[&str]| args.extend(words.iter().map(|&word| word.to_owned()));
    for (number, folder) in folders.iter().enumerate() {
        add(&["dir", folder, &number.to_string()]);
    }
    for path in gone.iter().filter_map(|path| staged(path)) {
        add(&["gone", &path]);
    }
    for file in files {
        let target = staged(file.path).unwrap_or_default();
        add(&["file", &file.copy, &target, &format!("{:04o}", file.mode)]);
    }
    for (number, folder) in folders.iter().enumerate() {
        add(&["bind", &number.to_string(), folder]);
    }
    add(&["run"]);
    args.extend(words.iter().cloned());
    let output = Program::new("unshare", args).run(cx.sys)?;
    if output.status == 0 {
        return Ok(None);
    }
    if output.status == UNABLE || output.stderr.starts_with("unshare: ") {
        return fail(
            ErrorCode::Unsupported,
            format!(
                "cannot show the new files to `{}` in a mount namespace: {}",
                words.join(" "),
                output.complaint()
            ),
        );
    }
    Ok(Some(output.complaint()))
}

/// Returns the path within a folder, if it lies there.
fn below<'a>(folder: &str, path: &'a str) -> Option<&'a str> {
    path.strip_prefix(folder)?.strip_prefix('/')
}

/// Returns the folders of these files, without those that lie in another one: its copy has them.
fn folders<'a>(paths: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let all: BTreeSet<&str> = paths.map(|path| split(path).0).collect();
    let mut outer: Vec<&str> = Vec::new();
    for folder in all {
        if !outer.iter().any(|one| below(one, folder).is_some()) {
            outer.push(folder);
        }
    }
    outer
}

fn refusal(words: &[String], path: &str, complaint: &str) -> AgentError {
    AgentError::new(
        ErrorCode::ValidateFailed,
        format!(
            "`{}` doesn't accept the new {path}, so it isn't put in place: {complaint}",
            words.join(" ")
        ),
    )
    .hint("correct the content in the repository")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folder_in_another_one_is_part_of_its_copy() {
        let paths = [
            "/etc/nginx/conf.d/a.conf",
            "/etc/nginx/nginx.conf",
            "/etc/nginx-x/b",
        ];
        assert_eq!(folders(paths.into_iter()), ["/etc/nginx", "/etc/nginx-x"]);
        assert_eq!(below("/etc/nginx", paths[0]), Some("conf.d/a.conf"));
        assert_eq!(below("/etc/nginx", paths[2]), None);
    }
}
