//! The INI form of Ansible's inventories. It isn't INI: a line of hosts is split as a shell would.

use super::ansible::Inventory;
use super::host_range::expand;

/// The meaning of the lines of a section.
enum Section {
    Hosts(String),
    Children(String),
    Variables(String),
}

/// Reads an inventory.
///
/// # Errors
/// Returns the line that can't be read, and why.
pub(super) fn read(text: &str) -> Result<Inventory, String> {
    let mut inventory = Inventory::default();
    let mut section = Section::Hosts("ungrouped".to_owned());
    for (number, line) in text.lines().enumerate() {
        let wrong = |what: String| format!("line {}: {what}", number + 1);
        let line = line.trim();
        if line.is_empty() || line.starts_with(['#', ';']) {
            continue;
        }
        if let Some(rest) = line.strip_prefix('[')
            && let Some((name, after)) = rest.split_once(']')
            && (after.trim().is_empty() || after.trim_start().starts_with(['#', ';']))
            && !is_range(name)
        {
            section = header(name).map_err(wrong)?;
            let (Section::Hosts(group) | Section::Children(group) | Section::Variables(group)) =
                &section;
            inventory.groups.entry(group.clone()).or_default();
            continue;
        }
        match &section {
            Section::Hosts(group) => hosts(&mut inventory, group, line).map_err(wrong)?,
            Section::Children(group) => {
                let child = line.split('#').next().unwrap_or(line).trim();
                let groups = &mut inventory.groups;
                groups.entry(child.to_owned()).or_default();
                let group = groups.entry(group.clone()).or_default();
                group.children.insert(child.to_owned());
            }
            Section::Variables(group) => {
                let (name, value) = line
                    .split_once('=')
                    .ok_or_else(|| wrong(format!("`{line}` isn't `NAME=VALUE`")))?;
                let group = inventory.groups.entry(group.clone()).or_default();
                let value = unquoted(value.trim());
                group.variables.insert(name.trim().to_owned(), value);
            }
        }
    }
    Ok(inventory)
}

/// True if the text between brackets is the range of a host's name, such as `[1:3].fleet.example`.
fn is_range(name: &str) -> bool {
    let ends: Vec<&str> = name.split(':').collect();
    let short = |end: &&str| end.len() == 1 || end.bytes().all(|b| b.is_ascii_digit());
    ends.len() > 1 && ends.iter().all(short)
}

fn header(name: &str) -> Result<Section, String> {
    match name.trim().split_once(':') {
        None => Ok(Section::Hosts(name.trim().to_owned())),
        Some((group, "children")) => Ok(Section::Children(group.to_owned())),
        Some((group, "vars")) => Ok(Section::Variables(group.to_owned())),
        Some((_, other)) => Err(format!("a section can't end with `:{other}`")),
    }
}

/// Reads a line of hosts: a name, and variables.
fn hosts(inventory: &mut Inventory, group: &str, line: &str) -> Result<(), String> {
    let words = shlex::split(line).ok_or_else(|| "a quote isn't closed".to_owned())?;
    let Some((pattern, variables)) = words.split_first() else {
        return Ok(());
    };
    let (pattern, port) = with_port(pattern);
    for name in expand(pattern)? {
        let own = inventory.add(group, &name);
        if let Some(port) = port {
            own.insert("ansible_port".to_owned(), port.to_owned());
        }
        for variable in variables {
            let (name, value) = variable
                .split_once('=')
                .ok_or_else(|| format!("`{variable}` isn't `NAME=VALUE`"))?;
            own.insert(name.to_owned(), value.to_owned());
        }
    }
    Ok(())
}

/// Splits `HOST:PORT`. An IPv6 address without brackets has no port.
fn with_port(pattern: &str) -> (&str, Option<&str>) {
    match pattern.rsplit_once(':') {
        Some((host, port))
            if !port.is_empty()
                && port.bytes().all(|b| b.is_ascii_digit())
                && host.matches(':').count() == host.matches('[').count() =>
        {
            (host, Some(port))
        }
        _ => (pattern, None),
    }
}

/// Removes the quotes around a whole value.
fn unquoted(value: &str) -> String {
    let inner = |quote: char| value.strip_prefix(quote)?.strip_suffix(quote);
    inner('"')
        .or_else(|| inner('\''))
        .unwrap_or(value)
        .to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_may_follow_the_name() {
        assert_eq!(with_port("web:2222"), ("web", Some("2222")));
        assert_eq!(with_port("w[1:3].x:2222"), ("w[1:3].x", Some("2222")));
        assert_eq!(with_port("w[1:3]"), ("w[1:3]", None));
        assert_eq!(with_port("2001:db8::7"), ("2001:db8::7", None));
    }

    #[test]
    fn a_line_that_cant_be_read_is_named() {
        for (text, says) in [
            ("[web]\na b\n", "line 2: `b` isn't `NAME=VALUE`"),
            ("a x='1\n", "line 1: a quote isn't closed"),
            ("[web:vars]\nx\n", "line 2: `x` isn't `NAME=VALUE`"),
            ("[web:hosts]\n", "line 1: a section can't end with `:hosts`"),
        ] {
            assert_eq!(read(text).unwrap_err(), says);
        }
    }

    #[test]
    fn a_comment_ends_a_line_of_hosts() {
        let inventory = read("web x=1 # ours y=2\n[1:2].fleet.example\n").unwrap();
        assert_eq!(inventory.hosts["web"].len(), 1);
        assert!(inventory.hosts.contains_key("2.fleet.example"));
    }
}
