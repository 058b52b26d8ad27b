//! ssh's configuration: each `Host` without a pattern becomes a host. As in ssh, the first value of a keyword
//! counts.

use std::collections::{BTreeMap, BTreeSet};

use super::{ForeignHost, Imported};

/// The lines below one `Host`.
struct Block {
    patterns: Vec<String>,
    settings: Vec<Setting>,
}

/// A keyword with its value.
struct Setting {
    keyword: String,
    value: String,
    line: usize,
}

/// Reads a configuration.
///
/// # Errors
/// Returns the line that can't be read, and why.
pub(crate) fn read(text: &str) -> Result<Imported, String> {
    let mut blocks = vec![Block {
        patterns: vec!["*".to_owned()],
        settings: Vec::new(),
    }];
    let mut left_out = Vec::new();
    let mut in_match = false;
    for (index, line) in text.lines().enumerate() {
        let number = index + 1;
        let (keyword, values) =
            words(line).ok_or_else(|| format!("line {number}: a quote isn't closed"))?;
        match keyword.as_str() {
            "" => {}
            "host" => {
                in_match = false;
                blocks.push(Block {
                    patterns: values,
                    settings: Vec::new(),
                });
            }
            "match" => {
                in_match = true;
                let condition = values.join(" ");
                left_out.push(format!(
                    "`Match {condition}` and its settings (line {number})"
                ));
            }
            "include" => left_out.push(format!(
                "the files of `Include {}` (line {number}); import each of them",
                values.join(" ")
            )),
            _ if in_match => {}
            _ => {
                let setting = Setting {
                    keyword,
                    value: values.join(" "),
                    line: number,
                };
                if let Some(block) = blocks.last_mut() {
                    block.settings.push(setting);
                }
            }
        }
    }
    let mut names = Vec::new();
    for pattern in blocks.iter().flat_map(|block| &block.patterns) {
        let is_name = !pattern.contains(['*', '?']) && !pattern.starts_with('!');
        if is_name && !names.contains(pattern) {
            names.push(pattern.clone());
        }
    }
    let mut used = BTreeSet::new();
    let hosts = names
        .iter()
        .map(|name| host(name, &blocks, &mut used, &mut left_out))
        .collect();
    left_out.extend(unused(&blocks, &used));
    Ok(Imported::new(hosts, left_out))
}

/// Splits a line into a keyword in lower case and its values; a line without a keyword has an empty one.
/// Returns `None` if a quote isn't closed.
fn words(line: &str) -> Option<(String, Vec<String>)> {
    let line = line.trim();
    if line.starts_with('#') {
        return Some((String::new(), Vec::new()));
    }
    let end = line
        .find(|c: char| c.is_whitespace() || c == '=')
        .unwrap_or(line.len());
    let (keyword, rest) = line.split_at(end);
    let rest = rest.trim_start();
    let rest = rest.strip_prefix('=').unwrap_or(rest);
    Some((keyword.to_ascii_lowercase(), shlex::split(rest)?))
}

fn host(
    name: &str,
    blocks: &[Block],
    used: &mut BTreeSet<usize>,
    left_out: &mut Vec<String>,
) -> ForeignHost {
    let mut first = |keyword: &str| {
        let settings = blocks
            .iter()
            .filter(|block| matches(&block.patterns, name))
            .flat_map(|block| &block.settings);
        let all: Vec<_> = settings.filter(|one| one.keyword == keyword).collect();
        used.extend(all.iter().map(|one| one.line));
        all.first().map(|one| one.value.clone())
    };
    let address = first("hostname").map(|address| address.replace("%h", name));
    let (login, port, jump) = (first("user"), first("port"), first("proxyjump"));
    if let Some(jump) = jump.filter(|jump| !jump.eq_ignore_ascii_case("none")) {
        left_out.push(format!(
            "`ProxyJump {jump}` of `{name}`: the controller connects without it"
        ));
    }
    let number = port.as_ref().map(|port| port.parse::<u16>());
    if let (Some(Err(_)), Some(port)) = (&number, &port) {
        left_out.push(format!("the port `{port}` of `{name}`"));
    }
    ForeignHost {
        name: name.to_owned(),
        groups: BTreeSet::new(),
        address,
        port: number.and_then(Result::ok).filter(|port| *port != 22),
        user: login,
    }
}

/// True if a name matches one of the patterns and none of those that begin with `!`.
fn matches(patterns: &[String], name: &str) -> bool {
    let mut found = false;
    for pattern in patterns {
        match pattern.strip_prefix('!') {
            Some(pattern) if like(pattern.as_bytes(), name.as_bytes()) => return false,
            Some(_) => {}
            None => found |= like(pattern.as_bytes(), name.as_bytes()),
        }
    }
    found
}

/// True if a name is like a pattern with `*` and `?`.
fn like(pattern: &[u8], name: &[u8]) -> bool {
    match (pattern.split_first(), name.split_first()) {
        (None, None) => true,
        (Some((b'*', rest)), _) if like(rest, name) => true,
        (Some((b'*', _)), Some((_, shorter))) => like(pattern, shorter),
        (Some((b'?', rest)), Some((_, shorter))) => like(rest, shorter),
        (Some((wanted, rest)), Some((found, shorter))) => wanted == found && like(rest, shorter),
        _ => false,
    }
}

/// Reports the keywords that have no equivalent, each with its lines.
fn unused(blocks: &[Block], used: &BTreeSet<usize>) -> Vec<String> {
    let mut keywords: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for setting in blocks.iter().flat_map(|block| &block.settings) {
        if !used.contains(&setting.line) {
            let lines = keywords.entry(&setting.keyword).or_default();
            lines.push(setting.line.to_string());
        }
    }
    let said = |(keyword, lines): (&str, Vec<String>)| {
        let noun = if lines.len() == 1 { "line" } else { "lines" };
        format!("the keyword `{keyword}` ({noun} {})", lines.join(", "))
    };
    keywords.into_iter().map(said).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONFIG: &str = "\
Host web db.fleet.example
    HostName=%h.internal.example
    Port 2222
Host db.fleet.example !web
    User postgres
    ProxyJump bastion
Match user root
    Port 99
Host bastion
    HostName \"192.0.2.1\"
    IdentityFile ~/.ssh/bastion
Host *
    User deploy
    Port 22
    ForwardAgent no
Include config.d/*
";

    #[test]
    fn the_first_value_that_matches_counts() {
        let imported = read(CONFIG).unwrap();
        let lines: Vec<String> = imported
            .hosts
            .iter()
            .map(|host| {
                host.manifest()
                    .lines()
                    .last()
                    .unwrap_or_default()
                    .to_owned()
            })
            .collect();
        assert_eq!(
            lines,
            [
                "  connect: [{user: deploy, address: 192.0.2.1}]",
                "  connect: [{user: postgres, address: db.fleet.example.internal.example, port: 2222}]",
                "  connect: [{user: deploy, address: web.internal.example, port: 2222}]",
            ]
        );
    }

    #[test]
    fn everything_without_an_equivalent_is_reported() {
        let imported = read(CONFIG).unwrap();
        assert_eq!(
            imported.left_out,
            [
                "`Match user root` and its settings (line 7)",
                "the files of `Include config.d/*` (line 16); import each of them",
                "`ProxyJump bastion` of `db.fleet.example`: the controller connects without it",
                "the keyword `forwardagent` (line 15)",
                "the keyword `identityfile` (line 11)",
            ]
        );
    }

    #[test]
    fn patterns_match_as_in_ssh() {
        for (pattern, name, matched) in [
            ("*", "", true),
            ("w?b", "web", true),
            ("w*b", "wb", true),
            ("*.example", "web.fleet.example", true),
            ("*.example", "web", false),
            ("web", "web1", false),
        ] {
            assert_eq!(
                like(pattern.as_bytes(), name.as_bytes()),
                matched,
                "{pattern} {name}"
            );
        }
    }
}
