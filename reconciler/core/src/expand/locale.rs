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
            // Debian 13 has a link to /etc/locale.conf at the older place.
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
            // X calls the British layout by its country, the console by its language.
            let layout = if keymap == "uk" { "gb" } else { keymap };
            // systemd reads KEYMAP, where /etc/vconsole.conf is a link to this file (Debian 13).
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
    Part::new(Kind::File, path)
        .field("content", text)
        .field("owner", "root")
        .field("group", "root")
        .field("mode", "0644")
}
