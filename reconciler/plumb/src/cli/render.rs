use plumb_core::desired::HostResult;
use plumb_core::resolve::rendered;
use serde_json::Value;

use crate::cli::folder::RepositoryFolder;
use crate::cli::selection::{Selection, select_names};
use crate::output::count;
use crate::output::{Paint, Palette, Shell};
use crate::report::{Exit, Failure, render_diagnostics};
use crate::workspace::Workspace;

/// Show the rendered resources of hosts
///
/// Shows what an agent would be sent, after profiles, defaults, patches and templates, with texts
/// inline. Starts no process and contacts no host. A host with errors isn't rendered, and the exit code
/// is 1.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  plumb render linda\n  plumb render --all -o json\n  plumb render -C ../fleet -l role=cloud -o yaml"
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
}

impl Render {
    pub(super) fn run(self, shell: &Shell) -> Result<Exit, Failure> {
        let (folder, hosts) = self.folder.and_hosts(self.words);
        if hosts.is_empty() && !self.all && self.selector.is_none() {
            return Err(Failure::new("no host selected")
                .hint("name hosts, select them by label with -l, or use --all")
                .exit(Exit::TROUBLE));
        }
        let workspace = Workspace::of_folder(&folder)?;
        let selection = Selection {
            hosts,
            selector: self.selector,
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
        shell.emit(&rendered, |palette| text(&rendered, palette))?;
        Ok(if held == 0 { Exit::OK } else { Exit::FAILED })
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
