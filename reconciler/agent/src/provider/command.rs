//! `command`: a program that runs when its guards or its inputs require it.

use std::time::Duration;

use plumb_api::period::Period;
use plumb_api::report::{AgentError, ErrorCode};
use plumb_api::resource::{CommandObserved, CommandSpec, Guard, Principal, Stale};
use plumb_api::{Address, Observed, Spec};

use super::{
    ApplyContext, Effect, GiveBack, Inquiry, Item, ItemChange, ObserveContext, Provider, each,
    wrong_type,
};
use crate::error::Result;
use crate::sys::{Accounts, Output, Program, Sys};

/// Time limit of a guard. Guards should only read, so they are quick.
const GUARD_LIMIT: Duration = Duration::from_secs(10);

/// Time limit of a command, unless its spec sets another.
const LIMIT: Duration = Duration::from_secs(5 * 60);

pub(crate) struct Commands;

impl Provider for Commands {
    fn inquiry(&self) -> Inquiry {
        Inquiry::Programs("command")
    }

    fn observe(&self, cx: &ObserveContext<'_>, items: &[Item<'_>]) -> Vec<Result<Observed>> {
        let one = |item: &Item<'_>| {
            let Spec::Command(spec) = item.spec else {
                return wrong_type(item.address);
            };
            Ok(Observed::Command(CommandObserved {
                guard: guard(cx.sys, &cx.accounts, spec)?,
                stale: is_stale(cx, item.address, item.spec),
            }))
        };
        items.iter().map(one).collect()
    }

    /// A command that isn't stale ran after the last change of its inputs.
    fn has_read_inputs(&self, observed: &Observed) -> bool {
        matches!(observed, Observed::Command(found) if !found.stale)
    }

    fn apply(&self, cx: &mut ApplyContext<'_>, work: &[ItemChange<'_>]) -> Vec<Result<Effect>> {
        each(cx, work, one)
    }

    fn give_back(&self) -> Option<&dyn GiveBack> {
        None
    }
}

/// True if an input changed since the command's last success, or it never succeeded.
fn is_stale(cx: &ObserveContext<'_>, address: &Address, spec: &Spec) -> bool {
    let entry = cx.inputs.ledger.entry(address);
    let has_run = entry.is_some_and(|entry| entry.inputs.is_some());
    !has_run || cx.inputs.stale(address, None, spec, 0) != Stale::No
}

/// Evaluates the guards. Returns [`Guard::Unmet`] if all of them ask for a run.
fn guard(sys: &Sys, accounts: &Accounts, spec: &CommandSpec) -> Result<Guard> {
    if spec.creates.as_ref().is_some_and(|path| sys.exists(path)) {
        return Ok(Guard::Met);
    }
    let succeeds = |words: &[String]| {
        let output = run(sys, accounts, spec, words, None, GUARD_LIMIT)?;
        Ok::<_, AgentError>(output.status == 0)
    };
    if !spec.unless.is_empty() && succeeds(&spec.unless)? {
        return Ok(Guard::Met);
    }
    if !spec.only_if.is_empty() && !succeeds(&spec.only_if)? {
        return Ok(Guard::Met);
    }
    Ok(Guard::Unmet)
}

/// Runs a program as the command's user, in the command's directory.
fn run(
    sys: &Sys,
    accounts: &Accounts,
    spec: &CommandSpec,
    words: &[String],
    input: Option<&str>,
    limit: Duration,
) -> Result<Output> {
    let user = spec.user.as_ref().and_then(Principal::name);
    let mut all: Vec<&str> = Vec::new();
    if let Some(user) = user {
        all.extend(["runuser", "-u", user, "--"]);
    }
    all.extend(words.iter().map(String::as_str));
    let Some((program, args)) = all.split_first() else {
        return Err(AgentError::new(
            ErrorCode::Protocol,
            "a command without a program",
        ));
    };
    let account = user.and_then(|user| accounts.user(user));
    let mut program = Program::new(program, args.iter().copied()).limit(limit);
    if let (Some(user), Some(account)) = (user, account) {
        program = program
            .env("HOME", &account.home)
            .env("USER", user)
            .env("LOGNAME", user);
    }
    for (name, value) in &spec.environment {
        program = program.env(name, value);
    }
    if let Some(directory) = &spec.directory {
        program.directory = directory;
    }
    program.input = input.map(str::as_bytes);
    program.run(sys)
}

fn one(cx: &mut ApplyContext<'_>, change: &ItemChange<'_>) -> Result<Effect> {
    let Spec::Command(spec) = change.spec else {
        return wrong_type(change.address);
    };
    let limit = spec.timeout.map_or(LIMIT, Period::duration);
    let output = run(
        cx.sys,
        &cx.accounts,
        spec,
        &spec.run,
        spec.input.as_deref(),
        limit,
    )?;
    let expected = |status: i32| match spec.returns.as_slice() {
        [] => status == 0,
        returns => returns.iter().any(|one| i32::from(*one) == status),
    };
    if expected(output.status) {
        return match spec.creates.as_deref().filter(|path| !cx.sys.exists(path)) {
            None => Ok(Effect::Started),
            Some(path) => Err(AgentError::new(
                ErrorCode::CommandFailed,
                format!(
                    "`{}` succeeded, and there is still nothing at {path} (`creates`)",
                    spec.run.join(" ")
                ),
            )
            .hint("correct `creates`, or the program: it would run at every look")),
        };
    }
    let message = format!(
        "`{}` exited with status {}: {}",
        spec.run.join(" "),
        output.status,
        output.complaint()
    );
    Err(AgentError::new(ErrorCode::CommandFailed, message)
        .hint("it stays pending and runs again at the next try"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        text.split('|').map(str::to_owned).collect()
    }

    #[test]
    fn program_has_its_directory_input_and_environment() {
        let sys = Sys::host().unwrap();
        let spec = CommandSpec {
            directory: Some("/usr".to_owned()),
            environment: [("WHO".to_owned(), "plumb".to_owned())].into(),
            ..CommandSpec::default()
        };
        let program = words("/bin/sh|-c|cat; echo $PWD $WHO");
        let output = run(
            &sys,
            &Accounts::default(),
            &spec,
            &program,
            Some("typed "),
            LIMIT,
        )
        .unwrap();
        assert_eq!(output.stdout, "typed /usr plumb\n");
    }

    #[test]
    fn program_that_leaves_its_input_unread_ends() {
        let sys = Sys::host().unwrap();
        let input = "x".repeat(1 << 20);
        let spec = CommandSpec::default();
        let output = run(
            &sys,
            &Accounts::default(),
            &spec,
            &words("/bin/true"),
            Some(&input),
            LIMIT,
        );
        assert_eq!(output.unwrap().status, 0);
    }

    #[test]
    fn all_guards_must_ask_for_a_run() {
        let sys = Sys::host().unwrap();
        let ask = |creates: Option<&str>, unless: &str, only_if: &str| {
            let spec = CommandSpec {
                creates: creates.map(str::to_owned),
                unless: words(unless),
                only_if: words(only_if),
                ..CommandSpec::default()
            };
            guard(&sys, &Accounts::default(), &spec).unwrap()
        };
        assert_eq!(
            ask(Some("/nowhere"), "/bin/false", "/bin/true"),
            Guard::Unmet
        );
        assert_eq!(ask(Some("/usr"), "/bin/false", "/bin/true"), Guard::Met);
        assert_eq!(ask(None, "/bin/true", "/bin/true"), Guard::Met);
        assert_eq!(ask(None, "/bin/false", "/bin/false"), Guard::Met);
    }
}
