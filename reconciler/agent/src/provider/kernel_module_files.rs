//! The two files of a `kernelModule`: the one that loads the module at boot, and the one with its options.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use plumb_api::resource::{KernelModuleSpec, ModuleState, OwnFiles};

use crate::error::Result;
use crate::sys::Sys;

/// The first line of each file.
pub(super) const HEAD: &str = "# Written by plumb.\n";

/// Maximum size of one of these files, in bytes.
pub(super) const MAX_FILE: u64 = 64 << 10;

/// The settings of a module at boot.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct BootSettings {
    /// The state; `None` if the files give none.
    pub state: Option<ModuleState>,
    /// The options of the module.
    pub options: BTreeMap<String, String>,
}

impl BootSettings {
    /// Returns the text of the file that loads the module; `None` if there is to be no such file.
    pub(super) fn load_text(&self, module: &str) -> Option<String> {
        (self.state == Some(ModuleState::Loaded)).then(|| format!("{HEAD}{module}\n"))
    }

    /// Returns the text of the file with the options; `None` if there is to be no such file.
    pub(super) fn options_text(&self, module: &str) -> Option<String> {
        if self.state == Some(ModuleState::Blacklisted) {
            return Some(format!("{HEAD}blacklist {module}\n"));
        }
        if self.options.is_empty() {
            return None;
        }
        let mut line = format!("options {module}");
        for (option, value) in &self.options {
            let quote = if value.contains(char::is_whitespace) {
                "\""
            } else {
                ""
            };
            let _ = write!(line, " {option}={quote}{value}{quote}");
        }
        Some(format!("{HEAD}{line}\n"))
    }

    /// Reads the settings from the texts of both files.
    fn parse(module: &str, load: Option<&str>, options: Option<&str>) -> Self {
        let mut settings = Self::default();
        let is_module = |word: &str| KernelModuleSpec::module(word) == module;
        for line in options.into_iter().flat_map(str::lines) {
            match words(line).as_slice() {
                [verb, name] if verb == "blacklist" && is_module(name) => {
                    settings.state = Some(ModuleState::Blacklisted);
                }
                [verb, name, values @ ..] if verb == "options" && is_module(name) => {
                    let pairs = values.iter().filter_map(|value| value.split_once('='));
                    let owned = pairs.map(|(option, value)| (option.to_owned(), value.to_owned()));
                    settings.options.extend(owned);
                }
                _ => {}
            }
        }
        let mut names = load.into_iter().flat_map(str::lines);
        if names.any(|line| is_module(line.trim())) {
            settings.state = Some(ModuleState::Loaded);
        }
        settings
    }
}

/// Splits a line at white space outside of quotes, and removes the quotes.
fn words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word = String::new();
    let mut quoted = false;
    for c in line.chars() {
        match c {
            '"' => quoted = !quoted,
            c if c.is_whitespace() && !quoted => {
                if !word.is_empty() {
                    words.push(std::mem::take(&mut word));
                }
            }
            c => word.push(c),
        }
    }
    if !word.is_empty() {
        words.push(word);
    }
    words
}

/// Reads the files of a module. Returns its settings, and whether the files say anything else.
pub(super) fn read(sys: &Sys, name: &str) -> Result<(BootSettings, OwnFiles)> {
    let text = |path: &str| -> Result<Option<String>> {
        let bytes = sys.root().read(path, MAX_FILE)?;
        Ok(bytes.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()))
    };
    let load = text(&KernelModuleSpec::load_file(name))?;
    let options = text(&KernelModuleSpec::options_file(name))?;
    let module = KernelModuleSpec::module(name);
    let settings = BootSettings::parse(&module, load.as_deref(), options.as_deref());
    let files = if load.is_none() && options.is_none() {
        OwnFiles::Absent
    } else if load == settings.load_text(&module) && options == settings.options_text(&module) {
        OwnFiles::Written
    } else {
        OwnFiles::Edited
    };
    Ok((settings, files))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn again(settings: &BootSettings) -> BootSettings {
        let load = settings.load_text("nbd");
        let options = settings.options_text("nbd");
        BootSettings::parse("nbd", load.as_deref(), options.as_deref())
    }

    #[test]
    fn written_settings_are_read_back() {
        let options = [
            ("nbds_max".to_owned(), "4".to_owned()),
            ("label".to_owned(), "two words".to_owned()),
        ];
        for settings in [
            BootSettings::default(),
            BootSettings {
                state: Some(ModuleState::Loaded),
                options: options.into(),
            },
            BootSettings {
                state: Some(ModuleState::Blacklisted),
                options: BTreeMap::new(),
            },
        ] {
            assert_eq!(again(&settings), settings);
        }
    }

    #[test]
    fn both_spellings_and_comments_are_read() {
        let options = "# nothing\noptions snd-hda a=1\nblacklist other\n";
        let settings = BootSettings::parse("snd_hda", Some("#x\n snd-hda \n"), Some(options));
        assert_eq!(settings.state, Some(ModuleState::Loaded));
        assert_eq!(settings.options["a"], "1");
    }
}
