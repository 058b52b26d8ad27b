use plumb_api::kind::ObjectKind;
use serde::Serialize;

use crate::cli::folder::RepositoryFolder;
use crate::output::{Paint, Shell, count};
use crate::report::{Exit, Failure, OrFail as _};
use crate::schema;

/// Print the JSON Schema of manifests, for completion in an editor
///
/// With the YAML language server, an editor completes the fields of a manifest, shows their meaning and marks
/// mistakes while you type. `plumb init` writes the schemas to .plumb/schema, and into each manifest the line
/// that names its schema. Use --write after an upgrade of Plumb, or in a repository without schemas.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  plumb schema host\n  plumb schema --write\n\nThe first line of hosts/NAME.yaml:\n  # yaml-language-server: $schema=../.plumb/schema/host.json"
)]
pub(super) struct Schema {
    /// Fleet, Host, Profile, Network, Secret, Image or TrustPolicy; without it, one schema for all of them
    #[arg(conflicts_with = "write")]
    kind: Option<ObjectKind>,

    /// Write the schema of every kind into the repository
    #[arg(long)]
    write: bool,

    #[command(flatten)]
    folder: RepositoryFolder,
}

#[derive(Serialize)]
struct Written {
    files: Vec<String>,
}

impl Schema {
    pub(super) fn run(self, shell: &Shell) -> Result<Exit, Failure> {
        if self.write {
            let folder = self.folder.path();
            if !folder.join("fleet.yaml").exists() {
                return Err(Failure::new(format!(
                    "{} isn't a fleet repository: it has no fleet.yaml",
                    folder.display()
                ))
                .hint("name the repository's folder with -C"));
            }
            let written = Written {
                files: schema::write(folder)?,
            };
            shell.emit(&written, |palette| {
                format!(
                    "{} {} in {}\n",
                    palette.paint(Paint::Good, "written:"),
                    count(written.files.len(), "schema"),
                    schema::FOLDER
                )
            })?;
            return Ok(Exit::OK);
        }
        let schema = self.kind.map_or_else(schema::of_all, schema::of);
        let text = serde_json::to_string_pretty(&schema)
            .or_fail(|| "cannot print the schema".to_owned())?;
        shell.print(&format!("{text}\n"))?;
        Ok(Exit::OK)
    }
}
