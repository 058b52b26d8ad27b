//! `locale`: expands into the files of the language, the time zone and the keyboard.

use plumb_api::Kind;
use plumb_api::resource::LocaleSpec;

use super::{ExpandContext, Outcome, Part, TypedResource, each};

/// Expands the resource.
pub(super) fn expand(
    all: &[TypedResource<'_, LocaleSpec>],
    context: &ExpandContext<'_>,
) -> Vec<Outcome> {
    each(all, |one| {
        let mut parts = Vec::new();
        if !one.spec.generate.is_empty() {
            parts.extend(generated(&one.spec.generate));
        }
        if let Some(lang) = &one.spec.lang {
            // On Debian 13 the older path is a link to /etc/locale.conf.
            let path = if context.is_debian(13) {
                "/etc/locale.conf"
            } else {
                "/etc/default/locale"
            };
            let mut part = file(path, format!("LANG={lang}\n"));
            if !one.spec.generate.is_empty() {
                part = part.field("after", vec!["command:locale-gen"]);
            }
            parts.push(part);
        }
        if let Some(zone) = &one.spec.timezone {
            let target = format!("/usr/share/zoneinfo/{zone}");
            parts.push(Part::new(Kind::Link, "/etc/localtime").field("target", target));
            parts.push(file("/etc/timezone", format!("{zone}\n")));
        }
        if let Some(keymap) = &one.spec.keymap {
            // The British layout is called `gb` by X and `uk` by the console.
            let layout = if keymap == "uk" { "gb" } else { keymap };
            // On Debian 13 /etc/vconsole.conf is a link to this file, and systemd reads KEYMAP from it.
            parts.push(file(
                "/etc/default/keyboard",
                format!("XKBMODEL=pc105\nXKBLAYOUT={layout}\nXKBVARIANT=\nXKBOPTIONS=\nBACKSPACE=guess\nKEYMAP={keymap}\n"),
            ));
        }
        parts
    })
}

fn generated(names: &[String]) -> [Part; 3] {
    let lines: Vec<String> = names.iter().map(|name| format!("{name} UTF-8\n")).collect();
    let list = file(
        "/etc/locale.gen",
        format!("# Written by plumb.\n{}", lines.concat()),
    )
    .field("after", vec!["package:locales"]);
    let command = Part::new(Kind::Command, "locale-gen")
        .field("run", vec!["/usr/sbin/locale-gen"])
        .field("refreshOn", vec!["file:/etc/locale.gen"])
        .field("after", vec!["package:locales"]);
    [Part::new(Kind::Package, "locales"), list, command]
}

fn file(path: &str, text: String) -> Part {
    Part::root_file(path).field("content", text)
}
