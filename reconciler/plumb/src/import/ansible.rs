//! Ansible's inventories: groups become labels, and the variables of the connection `connect`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::{ForeignHost, Imported, ansible_ini, ansible_yaml};

/// The variables of a host or a group.
pub(super) type Variables = BTreeMap<String, String>;

/// The group of all hosts.
const ALL: &str = "all";
/// The group of hosts that are in no other one.
const UNGROUPED: &str = "ungrouped";

/// The variables of the connection, each with its older name.
const ADDRESS: [&str; 2] = ["ansible_host", "ansible_ssh_host"];
const PORT: [&str; 2] = ["ansible_port", "ansible_ssh_port"];
const USER: [&str; 2] = ["ansible_user", "ansible_ssh_user"];

/// A group of an inventory.
#[derive(Debug, Default)]
pub(super) struct Group {
    pub(super) hosts: BTreeSet<String>,
    pub(super) children: BTreeSet<String>,
    pub(super) variables: Variables,
}

/// An inventory, in whatever form it is written.
#[derive(Debug, Default)]
pub(super) struct Inventory {
    pub(super) hosts: BTreeMap<String, Variables>,
    pub(super) groups: BTreeMap<String, Group>,
    /// What can't be read.
    pub(super) left_out: Vec<String>,
}

/// Reads an inventory. Its form follows from the file's name, as in Ansible.
///
/// # Errors
/// Returns the reason if the file isn't an inventory.
pub(crate) fn read(path: &Path, text: &str) -> Result<Imported, String> {
    if text.starts_with("#!") {
        return Err(
            "it is a program; run `ansible-inventory --list --yaml > inventory.yaml` and import that file"
                .to_owned(),
        );
    }
    let ending = path.extension().and_then(|ending| ending.to_str());
    let inventory = match ending {
        Some("yaml" | "yml" | "json") => ansible_yaml::read(text)?,
        _ => ansible_ini::read(text)?,
    };
    let mut imported = inventory.import();
    for folder in ["group_vars", "host_vars"] {
        let folder = path.with_file_name(folder);
        if folder.is_dir() {
            imported
                .left_out
                .push(format!("the variables in {}", folder.display()));
        }
    }
    Ok(imported)
}

impl Inventory {
    /// Adds a host to a group.
    pub(super) fn add(&mut self, group: &str, host: &str) -> &mut Variables {
        let members = &mut self.groups.entry(group.to_owned()).or_default().hosts;
        members.insert(host.to_owned());
        self.hosts.entry(host.to_owned()).or_default()
    }

    fn import(mut self) -> Imported {
        let mut hosts = Vec::new();
        for name in self.hosts.keys() {
            let groups = self.groups_of(name);
            let look_up = |names| self.variable(name, &groups, names).cloned();
            let (address, port, user) = (look_up(ADDRESS), look_up(PORT), look_up(USER));
            let mut host = ForeignHost {
                name: name.clone(),
                ..ForeignHost::default()
            };
            let template = |value: &String| value.contains("{{");
            for (variable, value) in [("address", &address), ("port", &port), ("user", &user)] {
                if let Some(value) = value.as_ref().filter(|value| template(value)) {
                    self.left_out
                        .push(format!("the {variable} of `{name}`, a template: {value}"));
                }
            }
            host.address = address.filter(|value| !template(value));
            host.user = user.filter(|value| !template(value));
            if let Some(text) = port.filter(|value| !template(value)) {
                match text.parse() {
                    Ok(port) => host.port = Some(port).filter(|port| *port != 22),
                    Err(_) => self.left_out.push(format!("the port `{text}` of `{name}`")),
                }
            }
            host.groups = groups
                .into_iter()
                .filter(|group| ![ALL, UNGROUPED].contains(&group.as_str()))
                .collect();
            hosts.push(host);
        }
        let others = self.other_variables();
        self.left_out.extend(others);
        Imported::new(hosts, self.left_out)
    }

    /// Returns the groups that a host is in, by itself or by a group's children.
    fn groups_of(&self, host: &str) -> BTreeSet<String> {
        let mut found: BTreeSet<String> = self
            .groups
            .iter()
            .filter(|(_, group)| group.hosts.contains(host))
            .map(|(name, _)| name.clone())
            .collect();
        loop {
            let above: BTreeSet<String> = self
                .groups
                .iter()
                .filter(|(name, group)| {
                    !found.contains(*name)
                        && group.children.iter().any(|child| found.contains(child))
                })
                .map(|(name, _)| name.clone())
                .collect();
            if above.is_empty() {
                break;
            }
            found.extend(above);
        }
        found.insert(ALL.to_owned());
        found
    }

    /// Returns the value of a variable for a host: its own, or that of the innermost group.
    fn variable(&self, host: &str, groups: &BTreeSet<String>, names: [&str; 2]) -> Option<&String> {
        let of = |variables: &'_ Variables| {
            names
                .iter()
                .find(|name| variables.contains_key(**name))
                .copied()
        };
        if let Some(variables) = self.hosts.get(host)
            && let Some(name) = of(variables)
        {
            return variables.get(name);
        }
        let mut inner: Vec<(usize, &String)> = groups
            .iter()
            .map(|name| (self.depth(name, &mut BTreeSet::new()), name))
            .collect();
        inner.sort();
        inner.into_iter().rev().find_map(|(_, group)| {
            let variables = &self.groups.get(group)?.variables;
            variables.get(of(variables)?)
        })
    }

    /// Returns the number of groups above a group.
    fn depth(&self, name: &str, seen: &mut BTreeSet<String>) -> usize {
        if name == ALL || !seen.insert(name.to_owned()) {
            return 0;
        }
        let parents = self
            .groups
            .iter()
            .filter(|(_, group)| group.children.contains(name));
        let deepest = parents.map(|(parent, _)| self.depth(parent, seen)).max();
        seen.remove(name);
        1 + deepest.unwrap_or(0)
    }

    /// Reports the variables that have no equivalent, each with those who have it.
    fn other_variables(&self) -> Vec<String> {
        let known: Vec<&str> = [ADDRESS, PORT, USER].concat();
        let mut owners: BTreeMap<&str, Vec<String>> = BTreeMap::new();
        let hosts = self.hosts.iter().map(|(name, of)| (name.clone(), of));
        let groups = self
            .groups
            .iter()
            .map(|(name, group)| (format!("group {name}"), &group.variables));
        for (owner, variables) in hosts.chain(groups) {
            for variable in variables
                .keys()
                .filter(|name| !known.contains(&name.as_str()))
            {
                owners.entry(variable).or_default().push(owner.clone());
            }
        }
        let said = |(variable, owners): (&str, Vec<String>)| {
            let some: Vec<_> = owners.iter().take(3).map(String::as_str).collect();
            let more = match owners.len().saturating_sub(3) {
                0 => String::new(),
                more => format!(" and {more} more"),
            };
            format!("the variable `{variable}` ({}{more})", some.join(", "))
        };
        owners.into_iter().map(said).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const INI: &str = "\
# ours
jump.fleet.example
[web]
web[1:2].fleet.example ansible_user=deploy http_port=80
[db]
db1 ansible_host=192.0.2.9 ansible_port=2222 ansible_ssh_private_key_file='~/.ssh/a key'
[cloud:children]
web
db
[cloud:vars]
ansible_user = admin
ansible_become=true
";

    const YAML: &str = "\
all:
  vars: {ansible_user: root}
  hosts:
    jump.fleet.example:
  children:
    cloud:
      vars: {ansible_user: admin, ansible_become: true}
      children:
        web:
          hosts:
            web[1:2].fleet.example: {ansible_user: deploy, http_port: 80}
        db:
          hosts:
            db1:
              ansible_host: 192.0.2.9
              ansible_port: 2222
              ansible_password: !vault |
                $ANSIBLE_VAULT;1.1;AES256
                6162
";

    fn manifests(path: &str, text: &str) -> (Vec<String>, Vec<String>) {
        let imported = read(Path::new(path), text).unwrap();
        let texts = imported
            .hosts
            .iter()
            .map(super::super::ImportedHost::manifest);
        (texts.collect(), imported.left_out)
    }

    #[test]
    fn groups_become_labels_and_the_innermost_variable_wins() {
        let (hosts, left_out) = manifests("inventory", INI);
        assert_eq!(
            hosts[0],
            "kind: Host\nmetadata: {name: db1, labels: {cloud: \"true\", db: \"true\"}}\nspec:\n  connect: [{user: admin, address: 192.0.2.9, port: 2222}]\n"
        );
        assert!(hosts[1].ends_with("spec:\n  connect: [{address: jump.fleet.example}]\n"));
        assert!(
            hosts[3].contains("name: web2, labels: {cloud"),
            "{}",
            hosts[3]
        );
        assert!(hosts[3].contains("[{user: deploy, address: web2.fleet.example}]"));
        assert_eq!(
            left_out,
            [
                "the variable `ansible_become` (group cloud)",
                "the variable `ansible_ssh_private_key_file` (db1)",
                "the variable `http_port` (web1.fleet.example, web2.fleet.example)",
            ]
        );
    }

    #[test]
    fn the_yaml_form_says_the_same() {
        let (hosts, left_out) = manifests("inventory.yml", YAML);
        let (ini, _) = manifests("inventory", INI);
        assert_eq!(hosts[0], ini[0]);
        assert_eq!(hosts[2..], ini[2..]);
        assert!(hosts[1].contains("user: root"), "{}", hosts[1]);
        assert!(left_out.contains(&"the variable `ansible_password` (db1)".to_owned()));
    }

    #[test]
    fn a_template_and_a_wrong_port_are_reported() {
        let (hosts, left_out) = manifests(
            "inventory",
            "a ansible_host=\"{{ address }}\" ansible_port=ssh\n",
        );
        assert!(hosts[0].contains("connect: [{address: a}]"), "{}", hosts[0]);
        assert_eq!(left_out.len(), 2, "{left_out:?}");
    }

    #[test]
    fn a_program_is_refused_with_the_command_that_helps() {
        let refused = read(Path::new("inventory.py"), "#!/usr/bin/python3\n").unwrap_err();
        assert!(
            refused.contains("ansible-inventory --list --yaml"),
            "{refused}"
        );
    }

    #[test]
    fn groups_that_contain_each_other_end() {
        let text = "[a:children]\nb\n[b:children]\na\n[b]\nhost\n";
        let (hosts, _) = manifests("inventory", text);
        assert!(
            hosts[0].contains("labels: {a: \"true\", b: \"true\"}"),
            "{}",
            hosts[0]
        );
    }
}
