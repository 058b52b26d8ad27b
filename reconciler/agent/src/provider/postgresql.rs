//! Runs SQL on the host's `PostgreSQL` server, as `postgres` over the server's socket.
//!
//! The SQL goes to the standard input of `psql`, so that it is in no process list. Names and values are
//! quoted; results come as JSON.

use std::time::Duration;

use plumb_api::report::{AgentError, ErrorCode};
use plumb_api::resource::ServerState;
use serde_json::Value;

use crate::error::Result;
use crate::sys::{Accounts, Output, Program, Sys};

/// The folder with a subfolder for each major version of the server.
const VERSIONS: &str = "/usr/lib/postgresql";

/// The user of the host that may do everything in the server.
const SUPERUSER: &str = "postgres";

/// The database for sessions that concern the whole server.
pub(super) const MAINTENANCE: &str = "postgres";

/// Time limit of one session.
const LIMIT: Duration = Duration::from_secs(60);

/// Settings of each session. They take precedence over those of the database, whose owner could otherwise
/// have the superuser run other functions than the ones that are meant.
const OPTIONS: &str = "-c search_path=pg_catalog,pg_temp -c standard_conforming_strings=on -c lc_messages=C -c client_min_messages=warning";

/// Exit status of psql after an SQL error.
const SQL_ERROR: i32 = 3;

/// The answer of a server.
pub(super) enum Answer {
    /// The results, one JSON value per row.
    Rows(Vec<Value>),
    /// No connection, with what psql says.
    NoConnection(String),
}

/// Returns a name as a quoted identifier.
pub(super) fn identifier(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// Returns a text as a literal.
pub(super) fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// True if a server is installed.
pub(super) fn is_installed(sys: &Sys, accounts: &Accounts) -> bool {
    let versions = sys.root().list(VERSIONS).unwrap_or_default();
    let mut servers = versions
        .iter()
        .map(|version| format!("{VERSIONS}/{version}/bin/postgres"));
    accounts.user(SUPERUSER).is_some() && servers.any(|server| sys.exists(&server))
}

fn psql(sys: &Sys, database: &str, script: &str) -> Result<Output> {
    let args = ["-u", SUPERUSER, "--", "psql", "-X", "-A", "-t", "-q", "-w"];
    let variables = ["-v", "ON_ERROR_STOP=1", "-v", "VERBOSITY=verbose"];
    let database = ["-d", database];
    let mut program = Program::new("runuser", args.into_iter().chain(variables).chain(database))
        .limit(LIMIT)
        .env("PGOPTIONS", OPTIONS)
        .env("PGCLIENTENCODING", "UTF8");
    program.input = Some(script.as_bytes());
    program.run(sys)
}

/// Runs queries whose rows are JSON values.
pub(super) fn query(sys: &Sys, script: &str) -> Result<Answer> {
    let output = psql(sys, MAINTENANCE, script)?;
    if output.status == 0 {
        let rows = serde_json::Deserializer::from_str(&output.stdout).into_iter::<Value>();
        return rows
            .collect::<std::result::Result<_, _>>()
            .map(Answer::Rows)
            .map_err(|error| {
                AgentError::new(
                    ErrorCode::Internal,
                    format!("cannot read what `psql` answered: {error}"),
                )
            });
    }
    // A session that has printed rows was connected.
    if output.status == SQL_ERROR || !output.stdout.trim().is_empty() {
        return Err(failure("observe the databases", &output));
    }
    Ok(Answer::NoConnection(output.complaint()))
}

/// Executes SQL in a database. `task` says for what, as in "create database `x`".
pub(super) fn execute(sys: &Sys, database: &str, task: &str, script: &str) -> Result<()> {
    let output = psql(sys, database, script)?;
    if output.status == 0 {
        return Ok(());
    }
    Err(failure(task, &output))
}

fn failure(task: &str, output: &Output) -> AgentError {
    let said = output.complaint();
    let (state, text) = match error_of(&said) {
        Some((state, text)) => (Some(state), text),
        None => (None, said.clone()),
    };
    let (code, hint) = match state {
        Some("55006") => (
            ErrorCode::InUse,
            Some("it waits until the sessions end; pg_stat_activity lists them"),
        ),
        Some("0A000" | "58P01") => (
            ErrorCode::NotFound,
            Some("add the package that has it, such as postgresql-NN-NAME"),
        ),
        _ => (ErrorCode::CommandFailed, None),
    };
    let error = AgentError::new(code, format!("cannot {task}: {text}"));
    match hint {
        Some(hint) => error.hint(hint),
        None => error,
    }
}

/// Returns the SQLSTATE and the text of the first error in psql's verbose output.
fn error_of(said: &str) -> Option<(&str, String)> {
    let (_, rest) = said.split_once("ERROR:  ")?;
    let (state, rest) = rest.split_once(": ")?;
    let is_state = state.len() == 5 && state.bytes().all(|b| b.is_ascii_alphanumeric());
    let mut lines = rest.lines();
    let text = lines.next().unwrap_or_default();
    let text = match lines.find_map(|line| line.strip_prefix("DETAIL:  ")) {
        Some(detail) => format!("{text} ({})", detail.trim_end_matches('.')),
        None => text.to_owned(),
    };
    is_state.then_some((state, text))
}

/// Returns the error for a database whose server can't be asked.
pub(super) fn no_server(sys: &Sys, name: &str, state: ServerState) -> AgentError {
    if state == ServerState::Missing {
        return AgentError::new(
            ErrorCode::NotFound,
            format!("database `{name}` needs a PostgreSQL server, which this host doesn't have"),
        )
        .hint("add `package: {postgresql: {}}` and `service: {postgresql: {state: started}}`");
    }
    let said = match query(sys, "SELECT 1;") {
        Ok(Answer::NoConnection(said)) => format!(": {said}"),
        Ok(Answer::Rows(_)) | Err(_) => String::new(),
    };
    AgentError::new(
        ErrorCode::NotFound,
        format!(
            "database `{name}` waits for the PostgreSQL server, which accepts no connection{said}"
        ),
    )
    .hint("add `service: {postgresql: {state: started}}`, or look at `pg_lsclusters` on the host")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_end_no_identifier_or_literal() {
        assert_eq!(identifier(r#"a"; DROP x"#), r#""a""; DROP x""#);
        assert_eq!(literal("it's"), "'it''s'");
    }

    #[test]
    fn error_has_the_code_of_its_sql_state() {
        let output = |stderr: &str| Output {
            status: SQL_ERROR,
            stdout: String::new(),
            stderr: stderr.to_owned(),
        };
        let used = "ERROR:  55006: database \"x\" is being accessed by other users\nDETAIL:  There is 1 other session.\nLOCATION:  dropdb, dbcommands.c:1677\n";
        let error = failure("drop database `x`", &output(used));
        assert_eq!(error.code, ErrorCode::InUse);
        assert_eq!(
            error.message,
            "cannot drop database `x`: database \"x\" is being accessed by other users (There is 1 other session)"
        );
        let missing = "psql:<stdin>:1: ERROR:  0A000: extension \"postgis\" is not available\n";
        let error = failure("x", &output(missing));
        assert_eq!(error.code, ErrorCode::NotFound);
        let other = "psql: error: something else\n";
        assert_eq!(failure("x", &output(other)).code, ErrorCode::CommandFailed);
    }
}
