//! `database`: a database of a `PostgreSQL` server on the host.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::field::{Manage, Membership, Presence};
use super::user::members_differ;
use super::{Dependency, Kind, Problem, Resource, Strength, differs};
use crate::name::Address;
use crate::plan::{Certainty, Consequence, FieldChange};

/// A database of the host's `PostgreSQL` server. The name is the database's name.
///
/// The agent speaks to the server as the user `postgres`, over the server's socket. Where a host has several
/// clusters, that is the one that `psql` chooses. The packages `postgresql` and `postgresql-NN` and their
/// services are applied first; on a host where no server runs, the database waits for it.
///
/// Plumb creates the roles that `owner` and `grants` name if they don't exist, without the right to log in,
/// and never sets a password.
///
/// Plumb drops a database only if the manifest says `state: absent` and the database is empty or `confirm` has
/// its name; roles stay. When the resource leaves git, the database stays with its data, roles and extensions.
/// Settings, privileges and rights to log in are given back.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DatabaseSpec {
    /// `present` (default) or `absent`.
    #[serde(default, skip_serializing_if = "Presence::is_present")]
    pub state: Presence,
    /// The database system; `postgresql` is the only one.
    #[serde(default, skip_serializing_if = "Engine::is_default")]
    pub engine: Engine,
    /// The role that owns the database. When left out, a new database belongs to `postgres`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// Roles among `owner` and `grants` that may log in. A user of the host with the name of such a role can
    /// then connect over the socket without a password, as Debian configures it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub login: Option<BTreeSet<String>>,
    /// Extensions that the database has, such as `pg_trgm`. Plumb never drops an extension, because data may
    /// depend on it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub extensions: Option<BTreeSet<String>>,
    /// Settings of the database for new sessions, as in `ALTER DATABASE … SET`, with their names in lower case.
    /// Other settings stay.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub settings: Option<BTreeMap<String, String>>,
    /// Privileges on the database by role, without those of the owner: `{report: [connect]}`. A role in this
    /// list has exactly these privileges; other roles keep theirs. The role `public` stands for everyone, and
    /// has `connect` and `temporary` in a new database.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grants: Option<BTreeMap<String, BTreeSet<Privilege>>>,
    /// The database's name, beside `state: absent`: confirms that it is dropped with its data.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confirm: Option<String>,
    /// Resources that are applied before this one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub after: Vec<Address>,
    /// `always` (default), or `once`: create the resource, and never change it again.
    #[serde(default, skip_serializing_if = "Manage::is_always")]
    pub manage: Manage,
}

/// A database system.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub enum Engine {
    /// The `PostgreSQL` server.
    #[default]
    Postgresql,
}

impl Engine {
    /// True if this is the default, which the canonical form omits.
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// A privilege on a database.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub enum Privilege {
    /// Open sessions.
    Connect,
    /// Create schemas.
    Create,
    /// Create temporary tables.
    Temporary,
}

/// The state of a host's database server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum ServerState {
    /// The host has no server or no client program.
    #[default]
    Missing,
    /// The server accepts no connections.
    Stopped,
    /// The server answers.
    Running,
}

/// The observed state of a database.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DatabaseObserved {
    /// The server's state. If it isn't `running`, the other fields are empty.
    pub server: ServerState,
    /// The presence of the database.
    pub state: Option<Presence>,
    /// The owning role.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// The roles that may log in, among those that the spec or an earlier one names.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub login: BTreeSet<String>,
    /// The extensions.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub extensions: BTreeSet<String>,
    /// The settings, among those that the spec or an earlier one names.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub settings: BTreeMap<String, String>,
    /// The privileges of the roles that the spec or an earlier one names.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub grants: BTreeMap<String, BTreeSet<Privilege>>,
    /// True if the database has no table, view, sequence, function or large object of its own.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub empty: bool,
}

impl DatabaseSpec {
    /// True if the database is to be dropped.
    pub fn wants_to_be_absent(&self) -> bool {
        self.state == Presence::Absent
    }

    /// Returns the roles that `owner` and `grants` name and that must exist.
    pub fn roles(&self) -> BTreeSet<&str> {
        let owner = self.owner.as_deref();
        let granted = self.grants.iter().flatten();
        let granted = granted
            .filter(|(role, privileges)| *role != PUBLIC && !privileges.is_empty())
            .map(|(role, _)| role.as_str());
        owner.into_iter().chain(granted).collect()
    }
}

/// The pseudo-role that stands for everyone.
pub const PUBLIC: &str = "public";

/// The databases that a server always has.
const SYSTEM: &[&str] = &["postgres", "template0", "template1"];

/// Major versions of the server whose packages and services may be on a host.
const VERSIONS: std::ops::RangeInclusive<u8> = 13..=19;

/// True if the text can be the name of a database, role or extension.
fn is_identifier(name: &str) -> bool {
    let good = |b: u8| b.is_ascii_alphanumeric() || b"_-.$".contains(&b);
    let first = name.bytes().next();
    name.len() <= 63
        && first.is_some_and(|b| b.is_ascii_alphabetic() || b == b'_')
        && name.bytes().all(good)
}

/// True if the text can be the name of a setting, such as `work_mem` or `app.tenant`. The server ignores case,
/// and the manifest has one spelling.
fn is_setting(name: &str) -> bool {
    let word = |word: &str| {
        !word.is_empty()
            && !word.starts_with(|c: char| c.is_ascii_digit())
            && word
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
    };
    name.len() <= 63 && name.split('.').all(word) && name.split('.').count() <= 2
}

/// Returns the entries of `desired` that `observed` lacks or has with another value, and the values that
/// `observed` has for these keys.
fn entries_that_differ<V: Clone + PartialEq>(
    desired: &BTreeMap<String, V>,
    observed: &BTreeMap<String, V>,
    is_nothing: impl Fn(&V) -> bool,
) -> (BTreeMap<String, V>, BTreeMap<String, V>) {
    let (mut from, mut to) = (BTreeMap::new(), BTreeMap::new());
    for (key, wanted) in desired {
        let found = observed.get(key);
        if found == Some(wanted) || found.is_none() && is_nothing(wanted) {
            continue;
        }
        if let Some(found) = found {
            from.insert(key.clone(), found.clone());
        }
        to.insert(key.clone(), wanted.clone());
    }
    (from, to)
}

impl Resource for DatabaseSpec {
    type Observed = DatabaseObserved;

    const EXAMPLE: &'static str = r"package: {postgresql: {}}
service: {postgresql: {state: started, enabled: true}}
database:
  nextcloud:
    owner: nextcloud
    login: [nextcloud]
    extensions: [pg_trgm]
    settings: {work_mem: 16MB}
    grants: {public: [], report: [connect]}
  scratch: {state: absent, confirm: scratch}
";

    const SETS: &'static [&'static str] = &["after", "extensions", "login"];

    const RANK: u8 = 66;

    fn check_name(name: &str) -> Result<(), String> {
        if matches!(name, "template0" | "template1") {
            return Err(format!("`{name}` is a template of the server"));
        }
        if is_identifier(name) {
            Ok(())
        } else {
            Err("a database's name is 1 to 63 of a-z, A-Z, 0-9, `_`, `-`, `.`, `$`, and begins with a letter or `_`".to_owned())
        }
    }

    fn check(&self, name: &str) -> Vec<Problem> {
        let mut problems = Vec::new();
        let mut problem = |field, message: String, hint: &str| {
            problems.push(Problem {
                field,
                message,
                hint: hint.to_owned(),
            });
        };
        if self.wants_absent() && SYSTEM.contains(&name) {
            problem(
                "state",
                format!("`{name}` belongs to the server and can't be dropped"),
                "remove `state: absent`",
            );
        }
        match &self.confirm {
            Some(confirmed) if confirmed != name => problem(
                "confirm",
                format!("`{confirmed}` isn't the name of this database"),
                "write the database's own name",
            ),
            Some(_) if !self.wants_absent() => problem(
                "confirm",
                "`confirm` says that a database is dropped, and this one is to be present"
                    .to_owned(),
                "remove `confirm`, or write `state: absent` beside it",
            ),
            _ => {}
        }
        let roles = self.owner.iter().map(|role| ("owner", role));
        let granted = self
            .grants
            .iter()
            .flatten()
            .map(|(role, _)| ("grants", role));
        let login = self.login.iter().flatten().map(|role| ("login", role));
        let extensions = self.extensions.iter().flatten();
        let extensions = extensions.map(|name| ("extensions", name));
        for (field, name) in roles.chain(granted).chain(login).chain(extensions) {
            if !is_identifier(name) {
                problem(
                    field,
                    format!("`{name}` isn't a valid name"),
                    "write 1 to 63 of a-z, A-Z, 0-9, `_`, `-`, `.`, `$`, with a letter or `_` first",
                );
            }
        }
        if self.owner.as_deref() == Some(PUBLIC) {
            problem(
                "owner",
                "`public` stands for everyone and can't own a database".to_owned(),
                "name a role",
            );
        }
        for role in self.login.iter().flatten() {
            if !self.roles().contains(role.as_str()) {
                problem(
                    "login",
                    format!("`{role}` is neither the owner nor has it a privilege in `grants`"),
                    "make it the `owner`, or write it into `grants`",
                );
            }
        }
        if let (Some(owner), Some(grants)) = (&self.owner, &self.grants) {
            if grants.contains_key(owner) {
                problem(
                    "grants",
                    format!("`{owner}` owns the database and has every privilege"),
                    "remove it from `grants`",
                );
            }
        }
        for (setting, value) in self.settings.iter().flatten() {
            if !is_setting(setting) || value.chars().any(char::is_control) {
                problem(
                    "settings",
                    format!("`{setting}` isn't a setting with a value of one line"),
                    "write a setting in lower case, such as `work_mem: 16MB`",
                );
            }
        }
        problems
    }

    fn compare(&self, observed: &DatabaseObserved) -> Vec<FieldChange> {
        let mut changes = Vec::new();
        let found = match observed.server {
            ServerState::Running => observed.state.unwrap_or(Presence::Absent),
            // A stopped server may have the database, so neither state is reached.
            ServerState::Stopped if self.wants_absent() => Presence::Present,
            ServerState::Stopped | ServerState::Missing => Presence::Absent,
        };
        differs(&mut changes, "state", Some(&self.state), Some(&found));
        if self.wants_absent() {
            return changes;
        }
        differs(
            &mut changes,
            "owner",
            self.owner.as_ref(),
            observed.owner.as_ref(),
        );
        for (field, desired, found) in [
            ("extensions", &self.extensions, &observed.extensions),
            ("login", &self.login, &observed.login),
        ] {
            members_differ(
                &mut changes,
                field,
                Membership::Minimum,
                desired.as_ref(),
                Some(found),
            );
        }
        if let Some(desired) = &self.settings {
            let (from, to) = entries_that_differ(desired, &observed.settings, |_| false);
            if !to.is_empty() {
                changes.push(FieldChange::of("settings", Some(&from), Some(&to)));
            }
        }
        if let Some(desired) = &self.grants {
            let (from, to) = entries_that_differ(desired, &observed.grants, BTreeSet::is_empty);
            if !to.is_empty() {
                changes.push(FieldChange::of("grants", Some(&from), Some(&to)));
            }
        }
        changes
    }

    fn certainty(&self, observed: Option<&DatabaseObserved>) -> Certainty {
        match observed {
            Some(found) if found.server == ServerState::Running => Certainty::Exact,
            _ => Certainty::Predicted,
        }
    }

    fn requires(&self, _name: &str) -> Vec<Dependency> {
        let named = |kind, name: &str| Address::new(kind, name).ok();
        let mut all = vec![
            named(Kind::Package, "postgresql"),
            named(Kind::Service, "postgresql"),
        ];
        for version in VERSIONS {
            all.push(named(Kind::Package, &format!("postgresql-{version}")));
            all.push(named(Kind::Service, &format!("postgresql@{version}-main")));
        }
        all.into_iter()
            .flatten()
            .map(|address| Dependency {
                address,
                strength: Strength::Implicit,
            })
            .collect()
    }

    fn consequences(&self, name: &str, fields: &[FieldChange]) -> Vec<Consequence> {
        let dropped = self.wants_absent() && fields.iter().any(|change| change.field == "state");
        dropped
            .then(|| Consequence::Removes(format!("database {name} and its data")))
            .into_iter()
            .collect()
    }

    fn exists(observed: &DatabaseObserved) -> bool {
        observed.state == Some(Presence::Present)
    }

    fn wants_absent(&self) -> bool {
        self.wants_to_be_absent()
    }

    fn after(&self) -> &[Address] {
        &self.after
    }

    fn manage(&self) -> Manage {
        self.manage
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn spec(json: Value) -> DatabaseSpec {
        serde_json::from_value(json).unwrap()
    }

    fn fields(spec: &DatabaseSpec, observed: &DatabaseObserved) -> Vec<String> {
        let changes = spec.compare(observed);
        changes.into_iter().map(|change| change.field).collect()
    }

    #[test]
    fn refuses_what_no_server_could_have() {
        for (manifest, field) in [
            (json!({"confirm": "app"}), "confirm"),
            (json!({"state": "absent", "confirm": "other"}), "confirm"),
            (json!({"owner": "a\"b"}), "owner"),
            (json!({"owner": "public"}), "owner"),
            (
                json!({"owner": "app", "grants": {"app": ["connect"]}}),
                "grants",
            ),
            (json!({"login": ["app"]}), "login"),
            (json!({"extensions": ["pg trgm"]}), "extensions"),
            (json!({"settings": {"work_mem; DROP": "1"}}), "settings"),
            (json!({"settings": {"work_mem": "1\n"}}), "settings"),
        ] {
            let problems = spec(manifest.clone()).check("app");
            let found: Vec<_> = problems.iter().map(|problem| problem.field).collect();
            assert_eq!(found, [field], "{manifest}");
        }
        assert_eq!(spec(json!({"state": "absent"})).check("postgres").len(), 1);
        assert!(
            spec(json!({"state": "absent", "confirm": "app"}))
                .check("app")
                .is_empty()
        );
        for name in ["", "1a", "a b", "a\"b", "template1", &"x".repeat(64)] {
            assert!(DatabaseSpec::check_name(name).is_err(), "{name}");
        }
        assert!(DatabaseSpec::check_name("next-cloud_2").is_ok());
    }

    #[test]
    fn change_has_only_the_entries_that_differ() {
        let spec = spec(json!({
            "settings": {"work_mem": "16MB", "jit": "off"},
            "grants": {"report": ["connect"], "public": [], "nobody": []},
        }));
        let observed = DatabaseObserved {
            server: ServerState::Running,
            state: Some(Presence::Present),
            settings: [("jit".to_owned(), "off".to_owned())].into(),
            grants: [(PUBLIC.to_owned(), [Privilege::Connect].into())].into(),
            ..DatabaseObserved::default()
        };
        let changes = spec.compare(&observed);
        assert_eq!(
            changes,
            [
                FieldChange {
                    field: "settings".to_owned(),
                    from: Some(json!({})),
                    to: Some(json!({"work_mem": "16MB"})),
                },
                FieldChange {
                    field: "grants".to_owned(),
                    from: Some(json!({"public": ["connect"]})),
                    to: Some(json!({"public": [], "report": ["connect"]})),
                },
            ]
        );
    }

    #[test]
    fn extensions_and_settings_of_others_are_no_difference() {
        let spec = spec(json!({"owner": "app", "extensions": ["pg_trgm"], "settings": {}}));
        let observed = DatabaseObserved {
            server: ServerState::Running,
            state: Some(Presence::Present),
            owner: Some("app".to_owned()),
            extensions: ["pg_trgm".to_owned(), "plpgsql".to_owned()].into(),
            settings: [("jit".to_owned(), "off".to_owned())].into(),
            ..DatabaseObserved::default()
        };
        assert!(fields(&spec, &observed).is_empty());
    }

    #[test]
    fn a_host_without_a_server_has_no_database_and_a_stopped_one_may_have_it() {
        let missing = DatabaseObserved::default();
        let stopped = DatabaseObserved {
            server: ServerState::Stopped,
            ..DatabaseObserved::default()
        };
        let present = DatabaseSpec::default();
        let absent = spec(json!({"state": "absent"}));
        assert_eq!(fields(&present, &missing), ["state"]);
        assert_eq!(fields(&present, &stopped), ["state"]);
        assert!(fields(&absent, &missing).is_empty());
        assert_eq!(fields(&absent, &stopped), ["state"]);
        assert_eq!(present.certainty(Some(&missing)), Certainty::Predicted);
    }
}
