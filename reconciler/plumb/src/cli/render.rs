mod folder;

use std::path::PathBuf;

use plumb_adapters::git::Repository;
use plumb_core::desired::HostResult;
use plumb_core::resolve::rendered;
use serde_json::Value;

use crate::cli::folder::RepositoryFolder;
use crate::cli::selection::{Selection, select_names};
use crate::output::{Format, Paint, Palette, Shell, count};
use crate::report::{Exit, Failure, render_diagnostics};
use crate::workspace::Workspace;

/// Show the rendered resources of hosts
///
/// Shows what an agent would be sent, after profiles, defaults, patches and templates, with texts
/// inline. Starts no process and contacts no host. A host with errors isn't rendered, and the exit code
/// is 1.
///
/// `-o dir --to DIR` writes a folder per host instead: resources.yaml, and the files as they will be on the
/// host. Secrets are shown by name: neither their values nor their ciphertexts are printed or written.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  plumb render linda\n  plumb render --all -o json\n  plumb render -C ../fleet -l role=cloud -o yaml\n  plumb render --all --at HEAD~1 -o dir --to /tmp/before"
)]
pub(super) struct Render {
    /// Hosts by name
    #[arg(value_name = "HOST")]
    words: Vec<String>,

    #[command(flatten)]
    folder: RepositoryFolder,

    /// All hosts
    #[arg(long)]
    all: bool,

    /// Hosts by label, as in kubectl: role=cloud,site!=home
    #[arg(short = 'l', long, value_name = "SELECTOR", conflicts_with = "all")]
    selector: Option<String>,

    /// Render the fleet as of this commit instead of the folder's current content
    #[arg(long, value_name = "COMMIT")]
    at: Option<String>,

    /// With -o dir: the folder to write, which must be new or empty
    #[arg(long, value_name = "DIR")]
    to: Option<PathBuf>,
}

impl Render {
    pub(super) fn run(self, shell: &Shell) -> Result<Exit, Failure> {
        let (folder, hosts) = self.folder.and_hosts(self.words.clone());
        if hosts.is_empty() && !self.all && self.selector.is_none() {
            return Err(Failure::new("no host selected")
                .hint("name hosts, select them by label with -l, or use --all")
                .exit(Exit::TROUBLE));
        }
        let target = self.target(shell)?;
        let workspace = match &self.at {
            Some(at) => {
                let repository = Repository::open(&folder)?;
                Workspace::of_commit(&repository, &repository.resolve(at)?)?
            }
            None => Workspace::of_folder(&folder)?,
        };
        let selection = Selection {
            hosts,
            selector: self.selector.clone(),
        };
        let chosen = select_names(&selection, &workspace.fleet)?;
        let mut rendered = rendered(&workspace.resolved);
        if let Some(hosts) = rendered["hosts"].as_object_mut() {
            hosts.retain(|name, _| chosen.iter().any(|host| host.as_str() == name));
        }
        let mut held = 0;
        for name in &chosen {
            if let Some(HostResult::Held(diagnostics)) = workspace.resolved.hosts.get(name) {
                shell.say(render_diagnostics(
                    diagnostics,
                    &workspace.sources,
                    shell.err,
                ));
                shell.warn(format_args!(
                    "{name} isn't rendered: its manifests have errors"
                ));
                held += 1;
            }
        }
        match target {
            Some(target) => folder::write(&target, &chosen, &workspace.resolved)?,
            None => shell.emit(&rendered, |palette| text(&rendered, palette))?,
        }
        Ok(if held == 0 { Exit::OK } else { Exit::FAILED })
    }

    /// Returns the folder to write to; `None` if the result is printed.
    fn target(&self, shell: &Shell) -> Result<Option<PathBuf>, Failure> {
        match (shell.format, &self.to) {
            (Format::Dir, Some(to)) => Ok(Some(to.clone())),
            (Format::Dir, None) => Err(Failure::new("`-o dir` needs a folder to write to")
                .hint("name it with --to DIR")
                .exit(Exit::TROUBLE)),
            (_, Some(_)) => Err(Failure::new("`--to` is for `-o dir`")
                .hint("add `-o dir`")
                .exit(Exit::TROUBLE)),
            (_, None) => Ok(None),
        }
    }
}

fn text(rendered: &Value, palette: Palette) -> String {
    let mut out = String::new();
    for (name, host) in rendered["hosts"].as_object().into_iter().flatten() {
        let Some(types) = host["resources"].as_object() else {
            continue;
        };
        let resources = || {
            types.iter().flat_map(|(kind, all)| {
                let all = all.as_object().into_iter().flatten();
                all.map(move |(name, spec)| (kind, name, spec))
            })
        };
        out.push_str(&format!(
            "{}  {}  {}\n",
            palette.paint(Paint::Bold, name),
            count(resources().count(), "resource"),
            palette.paint(Paint::Dim, host["digest"].as_str().unwrap_or_default())
        ));
        for (kind, name, spec) in resources() {
            out.push_str(&format!(
                "  {}\n",
                palette.paint(Paint::Hint, format_args!("{kind}:{name}"))
            ));
            for line in fields(spec).lines() {
                out.push_str(&format!("    {line}\n"));
            }
        }
    }
    out
}

/// Renders a spec with one field per line. Texts look as they would in a file.
pub(super) fn fields(spec: &Value) -> String {
    let mut text = String::new();
    for (field, value) in spec.as_object().into_iter().flatten() {
        match value {
            Value::String(value) if value.contains('\n') => {
                text.push_str(&format!("{field}: |\n"));
                for line in value.lines() {
                    text.push_str(&format!("  {line}\n"));
                }
            }
            Value::String(value) => text.push_str(&format!("{field}: {value}\n")),
            value => text.push_str(&format!("{field}: {value}\n")),
        }
    }
    text
}
