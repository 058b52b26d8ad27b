//! `database`: a database of a `PostgreSQL` server on the host.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use plumb_api::plan::FieldChange;
use plumb_api::report::{AgentError, ErrorCode};
use plumb_api::resource::{
    DatabaseObserved, DatabaseSpec, Membership, PUBLIC, Presence, Privilege, ServerState,
};
use plumb_api::{Observed, Spec};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::faults::Faults;
use super::members::{Difference, Memberships};
use super::postgresql::{self, Answer, MAINTENANCE, identifier, literal};
use super::{
    ApplyContext, Effect, GiveBack, Inquiry, Item, ItemChange, ObserveContext, Provider, each,
    wrong_type,
};
use crate::error::Result;

/// In a spec that captures an original: stands for every setting and role.
const EVERY: &str = "*";

/// Settings that are lists of names. Each element is a literal of its own.
const LISTS: &[&str] = &[
    "local_preload_libraries",
    "search_path",
    "session_preload_libraries",
    "temp_tablespaces",
];

pub(crate) struct Databases;

impl Provider for Databases {
    fn inquiry(&self) -> Inquiry {
        Inquiry::Programs("postgresql")
    }

    fn observe(&self, cx: &ObserveContext<'_>, items: &[Item<'_>]) -> Vec<Result<Observed>> {
        let one = |item: &Item<'_>| {
            let Spec::Database(spec) = item.spec else {
                return wrong_type(item.address);
            };
            let managed = cx.inputs.ledger.entry(item.address);
            let managed = match managed.and_then(|entry| entry.managed()) {
                Some(Spec::Database(managed)) => Some(managed),
                _ => None,
            };
            observe(cx, item.address.name(), spec, managed).map(Observed::Database)
        };
        items.iter().map(one).collect()
    }

    /// Settings, privileges and logins that Plumb gave and that the spec no longer has get their original
    /// values. Extensions stay.
    fn withdraw(
        &self,
        spec: &Spec,
        managed: &Spec,
        original: &Observed,
        observed: &Observed,
        fields: &mut Vec<FieldChange>,
    ) {
        let (
            Spec::Database(spec),
            Spec::Database(managed),
            Observed::Database(original),
            Observed::Database(observed),
        ) = (spec, managed, original, observed)
        else {
            return;
        };
        if observed.server != ServerState::Running || spec.wants_to_be_absent() {
            return;
        }
        let none = BTreeSet::new();
        let login = Memberships {
            membership: Membership::Minimum,
            desired: Some(spec.login.as_ref().unwrap_or(&none)),
            added: managed.login.as_ref(),
            original: Some(&original.login),
            observed: Some(&observed.login),
        };
        login.withdraw(fields, "login");
        Departed {
            desired: spec.settings.as_ref(),
            managed: managed.settings.as_ref(),
            original: &original.settings,
            observed: &observed.settings,
        }
        .withdraw(fields, "settings");
        Departed {
            desired: spec.grants.as_ref(),
            managed: managed.grants.as_ref(),
            original: &original.grants,
            observed: &observed.grants,
        }
        .withdraw(fields, "grants");
    }

    fn read_back_fields(&self) -> &'static [&'static str] {
        &["settings"]
    }

    fn check_change(&self, cx: &ObserveContext<'_>, change: &ItemChange<'_>) -> Result<()> {
        let (Spec::Database(spec), Observed::Database(found)) = (change.spec, change.observed)
        else {
            return wrong_type(change.address);
        };
        let name = change.address.name();
        if found.server != ServerState::Running {
            return Err(postgresql::no_server(cx.sys, name, found.server));
        }
        let drops = change.original.is_none() && spec.wants_to_be_absent();
        if drops && !found.empty && spec.confirm.is_none() {
            return Err(AgentError::new(
                ErrorCode::Refused,
                format!("database `{name}` isn't empty: it isn't dropped"),
            )
            .hint(format!(
                "write `confirm: {name}` beside `state: absent` to drop it with its data"
            )));
        }
        Ok(())
    }

    fn apply(&self, cx: &mut ApplyContext<'_>, work: &[ItemChange<'_>]) -> Vec<Result<Effect>> {
        each(cx, work, one)
    }

    fn give_back(&self) -> Option<&dyn GiveBack> {
        Some(self)
    }
}

impl GiveBack for Databases {
    fn full_spec(&self) -> Spec {
        let every = || EVERY.to_owned();
        Spec::Database(DatabaseSpec {
            login: Some([every()].into()),
            settings: Some([(every(), String::new())].into()),
            grants: Some([(every(), BTreeSet::new())].into()),
            ..DatabaseSpec::default()
        })
    }

    /// A database that Plumb created or dropped stays so, hence only what it changed in an existing one is
    /// restored. [`Provider::withdraw`] does that for settings, privileges and logins.
    fn restore_spec(&self, original: &Observed, managed: Option<&Spec>) -> Spec {
        let owner = match (original, managed) {
            (Observed::Database(original), Some(Spec::Database(managed))) => {
                managed.owner.as_ref().and(original.owner.clone())
            }
            _ => None,
        };
        Spec::Database(DatabaseSpec {
            owner,
            ..DatabaseSpec::default()
        })
    }

    fn remain(&self, observed: &Observed, fields: &mut Vec<FieldChange>) {
        let Observed::Database(found) = observed else {
            return;
        };
        fields.retain(|change| change.field != "state");
        let exists = found.state == Some(Presence::Present);
        match found.server {
            ServerState::Running if !exists => fields.clear(),
            ServerState::Running => fields.push(FieldChange::new("state", "present", "kept")),
            ServerState::Stopped => fields.push(FieldChange::new("state", "unknown", "kept")),
            ServerState::Missing => fields.clear(),
        }
    }

    fn describe(&self, original: &Observed) -> Option<String> {
        matches!(original, Observed::Database(_)).then(|| {
            "its settings, privileges and logins; the database stays with its data".to_owned()
        })
    }
}

/// The entries of a map that determine which ones Plumb set and git no longer has.
struct Departed<'a, V> {
    desired: Option<&'a BTreeMap<String, V>>,
    managed: Option<&'a BTreeMap<String, V>>,
    original: &'a BTreeMap<String, V>,
    observed: &'a BTreeMap<String, V>,
}

impl<V: Clone + PartialEq + serde::Serialize + DeserializeOwned> Departed<'_, V> {
    /// Adds the entries that Plumb set and git no longer has to the change of `field`, with their original
    /// values.
    fn withdraw(&self, fields: &mut Vec<FieldChange>, field: &str) {
        let is_desired = |key: &String| self.desired.is_some_and(|all| all.contains_key(key));
        let Entries { mut from, mut to } = Entries::<V>::of(fields, field);
        let mut differs = false;
        for key in self.managed.into_iter().flatten().map(|(key, _)| key) {
            let (found, wanted) = (self.observed.get(key), self.original.get(key));
            if is_desired(key) || found == wanted {
                continue;
            }
            differs = true;
            from.extend(found.map(|value| (key.clone(), value.clone())));
            to.extend(wanted.map(|value| (key.clone(), value.clone())));
        }
        if differs {
            fields.retain(|change| change.field != field);
            fields.push(FieldChange::of(field, Some(&from), Some(&to)));
        }
    }
}

/// The entries of a map that a change has.
struct Entries<V> {
    from: BTreeMap<String, V>,
    to: BTreeMap<String, V>,
}

impl<V: DeserializeOwned> Entries<V> {
    /// Returns the entries in the change of a field; empty if the field doesn't change.
    fn of(fields: &[FieldChange], field: &str) -> Self {
        let change = fields.iter().find(|change| change.field == field);
        let entries = |value: Option<&serde_json::Value>| {
            let entries = value.cloned().map(serde_json::from_value);
            entries.and_then(Result::ok).unwrap_or_default()
        };
        Self {
            from: entries(change.and_then(|change| change.from.as_ref())),
            to: entries(change.and_then(|change| change.to.as_ref())),
        }
    }

    fn keys(&self) -> BTreeSet<&String> {
        self.from.keys().chain(self.to.keys()).collect()
    }
}

/// The first row of an observation: what the whole server knows.
#[derive(Deserialize)]
struct ServerRow {
    login: BTreeSet<String>,
    database: Option<DatabaseRow>,
}

#[derive(Deserialize)]
struct DatabaseRow {
    owner: String,
    settings: Vec<String>,
    grants: Vec<GrantRow>,
}

#[derive(Deserialize)]
struct GrantRow {
    role: String,
    privilege: Privilege,
}

/// The second row of an observation: what only the database itself knows.
#[derive(Deserialize)]
struct ContentRow {
    extensions: BTreeSet<String>,
    empty: bool,
}

/// Returns the queries that observe a database.
fn observation(name: &str) -> String {
    let own = |catalog: &str, namespace: &str| {
        format!(
            "EXISTS (SELECT FROM {catalog} o JOIN pg_namespace n ON n.oid = o.{namespace} \
             WHERE n.nspname !~ '^pg_' AND n.nspname <> 'information_schema' AND NOT EXISTS \
             (SELECT FROM pg_depend d WHERE d.classid = '{catalog}'::regclass AND d.objid = o.oid AND d.deptype = 'e')"
        )
    };
    let relations = own("pg_class", "relnamespace");
    let functions = own("pg_proc", "pronamespace");
    format!(
        "SELECT count(*) > 0 AS found FROM pg_database WHERE datname = {literal} AND datallowconn \\gset\n\
         SELECT json_build_object(\
         'login', (SELECT coalesce(json_agg(rolname), '[]') FROM pg_roles WHERE rolcanlogin), \
         'database', (SELECT json_build_object('owner', pg_get_userbyid(d.datdba), \
         'settings', (SELECT coalesce(json_agg(s.entry), '[]') FROM pg_db_role_setting r, unnest(r.setconfig) AS s(entry) WHERE r.setdatabase = d.oid AND r.setrole = 0), \
         'grants', (SELECT coalesce(json_agg(json_build_object('role', CASE WHEN a.grantee = 0 THEN '{PUBLIC}' ELSE pg_get_userbyid(a.grantee) END, 'privilege', lower(a.privilege_type))), '[]') \
         FROM aclexplode(coalesce(d.datacl, acldefault('d', d.datdba))) a WHERE a.grantee <> d.datdba)) \
         FROM pg_database d WHERE d.datname = {literal}));\n\
         \\if :found\n\
         \\connect {identifier}\n\
         SELECT json_build_object('extensions', (SELECT coalesce(json_agg(extname), '[]') FROM pg_extension), \
         'empty', NOT {relations} AND o.relkind IN ('r', 'p', 'v', 'm', 'S', 'f')) AND NOT {functions}) \
         AND NOT EXISTS (SELECT FROM pg_largeobject_metadata));\n\
         \\endif\n",
        literal = literal(name),
        identifier = identifier(name),
    )
}

fn observe(
    cx: &ObserveContext<'_>,
    name: &str,
    spec: &DatabaseSpec,
    managed: Option<&DatabaseSpec>,
) -> Result<DatabaseObserved> {
    if !postgresql::is_installed(cx.sys, &cx.accounts) {
        return Ok(DatabaseObserved::default());
    }
    let rows = match postgresql::query(cx.sys, &observation(name))? {
        Answer::Rows(rows) => rows,
        Answer::NoConnection(_) => {
            return Ok(DatabaseObserved {
                server: ServerState::Stopped,
                ..DatabaseObserved::default()
            });
        }
    };
    let mut rows = rows.into_iter();
    let server: ServerRow = row(rows.next().unwrap_or_default())?;
    let content: Option<ContentRow> = rows.next().map(row).transpose()?;
    let specs = || std::iter::once(spec).chain(managed);
    let login = specs().flat_map(|spec| spec.login.iter().flatten());
    let settings = specs().flat_map(|spec| spec.settings.iter().flat_map(BTreeMap::keys));
    let grants = specs().flat_map(|spec| spec.grants.iter().flat_map(BTreeMap::keys));
    let mut observed = DatabaseObserved {
        server: ServerState::Running,
        state: Some(Presence::Absent),
        login: server.login,
        ..DatabaseObserved::default()
    };
    retain(&mut observed.login, login);
    let settings: BTreeSet<&String> = settings.collect();
    let grants: BTreeSet<&String> = grants.collect();
    let is_named = |all: &BTreeSet<&String>, key: &str| {
        all.iter().any(|named| *named == key || *named == EVERY)
    };
    let Some(database) = server.database else {
        // What a new database has.
        if is_named(&grants, PUBLIC) {
            let privileges = [Privilege::Connect, Privilege::Temporary].into();
            observed.grants.insert(PUBLIC.to_owned(), privileges);
        }
        return Ok(observed);
    };
    observed.state = Some(Presence::Present);
    observed.owner = Some(database.owner);
    if let Some(content) = content {
        observed.extensions = content.extensions;
        observed.empty = content.empty;
    }
    observed.settings = database
        .settings
        .iter()
        .filter_map(|entry| entry.split_once('='))
        .map(|(key, value)| (key.to_ascii_lowercase(), value.to_owned()))
        .filter(|(key, _)| is_named(&settings, key))
        .collect();
    for grant in database.grants {
        if is_named(&grants, &grant.role) {
            let privileges = observed.grants.entry(grant.role).or_default();
            privileges.insert(grant.privilege);
        }
    }
    Ok(observed)
}

/// Keeps the names that a spec has.
fn retain<'a>(all: &mut BTreeSet<String>, named: impl Iterator<Item = &'a String>) {
    let named: BTreeSet<&String> = named.collect();
    if !named.iter().any(|name| *name == EVERY) {
        all.retain(|name| named.contains(name));
    }
}

fn row<T: DeserializeOwned>(json: serde_json::Value) -> Result<T> {
    serde_json::from_value(json).map_err(|error| {
        AgentError::new(
            ErrorCode::Internal,
            format!("cannot read what `psql` answered: {error}"),
        )
    })
}

fn one(cx: &mut ApplyContext<'_>, work: &ItemChange<'_>) -> Result<Effect> {
    let Spec::Database(spec) = work.spec else {
        return wrong_type(work.address);
    };
    let name = work.address.name();
    let quoted = identifier(name);
    let server =
        |task: String, script: String| postgresql::execute(cx.sys, MAINTENANCE, &task, &script);
    if spec.wants_to_be_absent() {
        server(
            format!("drop database `{name}`"),
            format!("DROP DATABASE {quoted};"),
        )?;
        return Ok(Effect::Done);
    }
    for role in spec.roles() {
        server(format!("create role `{role}`"), create_role(role))?;
    }
    // What is given back never creates a database.
    if work.original.is_none() && work.changes("state") {
        let owner = spec.owner.as_deref().map(identifier);
        let owner = owner.map(|owner| format!(" OWNER {owner}"));
        server(
            format!("create database `{name}`"),
            format!("CREATE DATABASE {quoted}{};", owner.unwrap_or_default()),
        )?;
    } else if let Some(owner) = spec.owner.as_deref().filter(|_| work.changes("owner")) {
        server(
            format!("give database `{name}` to `{owner}`"),
            format!("ALTER DATABASE {quoted} OWNER TO {};", identifier(owner)),
        )?;
    }
    let mut faults = Faults::default();
    if let Some(extensions) = Difference::of(work.fields, "extensions") {
        for extension in extensions.add {
            let script = format!(
                "SET search_path = public;\nCREATE EXTENSION IF NOT EXISTS {};",
                identifier(&extension)
            );
            let task = format!("create extension `{extension}` in database `{name}`");
            faults.note(postgresql::execute(cx.sys, name, &task, &script));
        }
    }
    if let Some(login) = Difference::of(work.fields, "login") {
        let roles = login.add.iter().map(|role| (role, "LOGIN"));
        for (role, right) in roles.chain(login.remove.iter().map(|role| (role, "NOLOGIN"))) {
            faults.note(server(
                format!("set {right} of role `{role}`"),
                format!("ALTER ROLE {} {right};", identifier(role)),
            ));
        }
    }
    let settings = Entries::of(work.fields, "settings");
    for key in settings.keys() {
        faults.note(server(
            format!("change the setting `{key}` of database `{name}`"),
            set(&quoted, key, settings.to.get(key)),
        ));
    }
    let grants = Entries::of(work.fields, "grants");
    for role in grants.keys() {
        faults.note(server(
            format!("change the privileges of `{role}` on database `{name}`"),
            grant(&quoted, role, grants.from.get(role), grants.to.get(role)),
        ));
    }
    let effect = faults.outcome()?;
    Ok(match work.original {
        Some(_) => Effect::Left,
        None => effect,
    })
}

/// Returns the SQL that creates a role without the right to log in, unless it exists.
fn create_role(role: &str) -> String {
    let role = literal(role);
    format!(
        "SELECT format('CREATE ROLE %I NOLOGIN', {role}) WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = {role}) \\gexec\n"
    )
}

/// Returns the SQL that sets a setting of a database, or resets it.
fn set(database: &str, key: &str, value: Option<&String>) -> String {
    let setting: Vec<String> = key.split('.').map(identifier).collect();
    let setting = setting.join(".");
    let Some(value) = value else {
        return format!("ALTER DATABASE {database} RESET {setting};");
    };
    let value = if LISTS.contains(&key) {
        let names = value
            .split(',')
            .map(|name| literal(name.trim().trim_matches('"')));
        names.collect::<Vec<_>>().join(", ")
    } else {
        literal(value)
    };
    format!("ALTER DATABASE {database} SET {setting} TO {value};")
}

/// Returns the SQL that turns the privileges of a role on a database into others.
fn grant(
    database: &str,
    role: &str,
    from: Option<&BTreeSet<Privilege>>,
    to: Option<&BTreeSet<Privilege>>,
) -> String {
    let none = BTreeSet::new();
    let (from, to) = (from.unwrap_or(&none), to.unwrap_or(&none));
    let role = match role {
        PUBLIC => "PUBLIC".to_owned(),
        role => identifier(role),
    };
    let word = |privilege: &Privilege| match privilege {
        Privilege::Connect => "CONNECT",
        Privilege::Create => "CREATE",
        Privilege::Temporary => "TEMPORARY",
    };
    let mut script = String::new();
    for privilege in to.difference(from).map(word) {
        let _ = writeln!(
            script,
            "GRANT {privilege} ON DATABASE {database} TO {role};"
        );
    }
    for privilege in from.difference(to).map(word) {
        let _ = writeln!(
            script,
            "REVOKE {privilege} ON DATABASE {database} FROM {role};"
        );
    }
    script
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn spec(json: serde_json::Value) -> Spec {
        Spec::Database(serde_json::from_value(json).unwrap())
    }

    fn found(settings: &[(&str, &str)]) -> DatabaseObserved {
        let settings = settings
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()));
        DatabaseObserved {
            server: ServerState::Running,
            state: Some(Presence::Present),
            settings: settings.collect(),
            ..DatabaseObserved::default()
        }
    }

    #[test]
    fn sql_quotes_what_the_manifest_says() {
        let value = "it's".to_owned();
        assert_eq!(
            set("\"x\"", "app.name", Some(&value)),
            "ALTER DATABASE \"x\" SET \"app\".\"name\" TO 'it''s';"
        );
        assert_eq!(
            set("\"x\"", "jit", None),
            "ALTER DATABASE \"x\" RESET \"jit\";"
        );
        let path = "\"$user\", app".to_owned();
        assert!(set("\"x\"", "search_path", Some(&path)).ends_with("TO '$user', 'app';"));
        let from = [Privilege::Connect, Privilege::Temporary].into();
        let to = [Privilege::Connect, Privilege::Create].into();
        assert_eq!(
            grant("\"x\"", "public", Some(&from), Some(&to)),
            "GRANT CREATE ON DATABASE \"x\" TO PUBLIC;\nREVOKE TEMPORARY ON DATABASE \"x\" FROM PUBLIC;\n"
        );
        assert!(create_role("o'x").contains("%I NOLOGIN', 'o''x')"));
    }

    #[test]
    fn setting_that_left_git_gets_its_original_value() {
        let managed = spec(json!({"settings": {"jit": "off", "work_mem": "1MB", "app.a": "1"}}));
        let now = spec(json!({"settings": {"work_mem": "1MB"}}));
        let original = Observed::Database(found(&[("jit", "on")]));
        let observed = Observed::Database(found(&[
            ("jit", "off"),
            ("work_mem", "1MB"),
            ("app.a", "1"),
        ]));
        let mut fields = Vec::new();
        Databases.withdraw(&now, &managed, &original, &observed, &mut fields);
        let change = FieldChange {
            field: "settings".to_owned(),
            from: Some(json!({"app.a": "1", "jit": "off"})),
            to: Some(json!({"jit": "on"})),
        };
        assert_eq!(fields, [change]);
    }

    #[test]
    fn a_database_that_left_git_is_told_to_stay() {
        let original = Observed::Database(DatabaseObserved {
            server: ServerState::Running,
            ..DatabaseObserved::default()
        });
        let restored = Databases.restore_spec(&original, Some(&spec(json!({"owner": "app"}))));
        let mut observed = found(&[]);
        observed.owner = Some("app".to_owned());
        let told = |observed: DatabaseObserved| {
            let observed = Observed::Database(observed);
            super::super::compare(super::super::Direction::Restored, &restored, &observed)
        };
        assert_eq!(
            told(observed),
            [FieldChange::new("state", "present", "kept")]
        );
        let mut gone = found(&[]);
        gone.state = Some(Presence::Absent);
        assert!(told(gone).is_empty());
        assert!(told(DatabaseObserved::default()).is_empty());
    }

    #[test]
    fn a_full_observation_is_asked_of_every_setting_and_role() {
        let Spec::Database(full) = Databases.full_spec() else {
            panic!("another type");
        };
        let mut roles: BTreeSet<String> = ["a".to_owned(), "b".to_owned()].into();
        retain(&mut roles, full.login.iter().flatten());
        assert_eq!(roles.len(), 2);
        retain(&mut roles, std::iter::once(&"b".to_owned()));
        assert_eq!(roles.into_iter().collect::<Vec<_>>(), ["b"]);
    }
}
