//! The boot loader, as far as it decides about the kernel's command line.

use std::time::Duration;

use plumb_api::resource::{BootCopy, KernelParameterSpec, OwnFiles};

use super::command_line;
use crate::error::Result;
use crate::sys::{Program, Sys};

/// The first line of Plumb's files for GRUB, and the whole text of one that is about to be removed.
pub(super) const HEAD: &str = "# Written by plumb.\n";

/// The programs of GRUB that build its menu on Debian.
const UPDATE_GRUB: [&str; 2] = ["/usr/sbin/update-grub", "/sbin/update-grub"];

const GRUB_MENU: &str = "/boot/grub/grub.cfg";

/// The line of the firmware of a Raspberry Pi, in Debian 12 and later, and before.
const PI_LINES: [&str; 2] = ["/boot/firmware/cmdline.txt", "/boot/cmdline.txt"];

/// Maximum time for building the menu.
const BUILD: Duration = Duration::from_secs(10 * 60);

const MAX_FILE: u64 = 4 << 20;

/// The boot loader of the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BootLoader {
    /// GRUB, with a file for each parameter and a menu that is built from them.
    Grub,
    /// The firmware of a Raspberry Pi, with all parameters in the one line of this file.
    RaspberryPi(&'static str),
}

/// The configuration of a parameter.
pub(super) struct Configured {
    /// The value; `None` if the parameter isn't there.
    pub value: Option<String>,
    /// The state of Plumb's own file.
    pub files: OwnFiles,
    /// The state of the menu.
    pub menu: BootCopy,
}

impl BootLoader {
    /// Returns the host's boot loader, or `None` if Plumb doesn't know it. A sandbox has GRUB unless it has
    /// the file of a Raspberry Pi.
    pub(super) fn of(sys: &Sys) -> Option<Self> {
        if let Some(path) = PI_LINES.into_iter().find(|path| sys.exists(path)) {
            return Some(Self::RaspberryPi(path));
        }
        let has_grub = UPDATE_GRUB.iter().any(|path| sys.exists(path));
        (sys.is_sandbox() || has_grub).then_some(Self::Grub)
    }

    /// Observes the configuration of a parameter.
    pub(super) fn observe(self, sys: &Sys, name: &str) -> Result<Configured> {
        match self {
            Self::Grub => grub(sys, name),
            Self::RaspberryPi(path) => {
                let text = read(sys, path)?.unwrap_or_default();
                Ok(Configured {
                    value: command_line::value(command_line::first_line(&text), name),
                    files: OwnFiles::Absent,
                    menu: BootCopy::Current,
                })
            }
        }
    }
}

/// Returns the text of the file that gives a parameter to GRUB.
pub(super) fn grub_text(name: &str, value: &str) -> String {
    let word = KernelParameterSpec::word(name, value);
    format!("{HEAD}{GRUB_BEGIN}{word}\"\n")
}

const GRUB_BEGIN: &str = "GRUB_CMDLINE_LINUX_DEFAULT=\"$GRUB_CMDLINE_LINUX_DEFAULT ";

/// Returns the value that a file for GRUB gives to a parameter.
fn grub_value(text: &str, name: &str) -> Option<String> {
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix(GRUB_BEGIN))?;
    command_line::value(line.strip_suffix('"')?, name)
}

fn grub(sys: &Sys, name: &str) -> Result<Configured> {
    let text = read(sys, &KernelParameterSpec::grub_file(name))?;
    let value = text.as_deref().and_then(|text| grub_value(text, name));
    let files = match (&text, &value) {
        (None, _) => OwnFiles::Absent,
        (Some(text), Some(value)) if *text == grub_text(name, value) => OwnFiles::Written,
        (Some(_), _) => OwnFiles::Edited,
    };
    let menu = match (&value, read(sys, GRUB_MENU)?) {
        (Some(value), Some(menu)) if in_menu(&menu, name).as_ref() != Some(value) => {
            BootCopy::Outdated
        }
        _ => BootCopy::Current,
    };
    Ok(Configured { value, files, menu })
}

/// Returns the value of a parameter in the first entry of GRUB's menu.
fn in_menu(menu: &str, name: &str) -> Option<String> {
    let mut lines = menu.lines().map(str::trim_start);
    let line =
        lines.find(|line| line.starts_with("linux") && line.contains(char::is_whitespace))?;
    command_line::value(line, name)
}

/// Builds GRUB's menu.
pub(super) fn update_grub(sys: &Sys) -> Result<()> {
    if sys.is_sandbox() {
        return Ok(());
    }
    Program::new("update-grub", [""; 0])
        .limit(BUILD)
        .check(sys)
        .map(|_| ())
}

/// Reads a file of the boot loader; `None` if it doesn't exist.
pub(super) fn read(sys: &Sys, path: &str) -> Result<Option<String>> {
    let bytes = sys.root().read(path, MAX_FILE)?;
    Ok(bytes.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn file_for_grub_is_read_back() {
        for value in ["", "256M", "ttyS0,115200"] {
            let text = grub_text("cma", value);
            assert_eq!(grub_value(&text, "cma").as_deref(), Some(value));
        }
        assert_eq!(grub_value(HEAD, "cma"), None);
    }

    #[test]
    fn first_entry_of_the_menu_counts() {
        let menu = "if x; then\nfi\nmenuentry 'a' {\n\tlinux\t/boot/vmlinuz root=/dev/vda ro  quiet cma=1\n}\nlinux /x cma=2\n";
        assert_eq!(in_menu(menu, "cma").as_deref(), Some("1"));
        assert_eq!(in_menu(menu, "nosmt"), None);
    }
}
