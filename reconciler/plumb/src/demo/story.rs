//! Prints the demonstration's progress.

use std::io::Write as _;
use std::time::{Duration, Instant};

use crate::output::{Paint, Palette};
use crate::report::Failure;

/// Maximum time to wait for an expected result.
const PATIENCE: Duration = Duration::from_secs(30);

/// Delay between two checks for an expected result.
const GLANCE: Duration = Duration::from_millis(20);

/// Prints the story on stdout.
pub(super) struct Story {
    palette: Palette,
    out: std::io::Stdout,
}

impl Story {
    pub(super) fn new(palette: Palette) -> Self {
        Self {
            palette,
            out: std::io::stdout(),
        }
    }

    pub(super) fn title(&self) {
        let name = self.palette.paint(Paint::Bold, "plumb demo");
        self.say(&format!(
            "{name}: a signed fleet on this machine. It needs no root and no network but the loopback; everything is removed at the end."
        ));
    }

    pub(super) fn chapter(&self, number: usize, of: usize, name: &str, about: &str) {
        let head = self
            .palette
            .paint(Paint::Bold, format_args!("{number}/{of}  {name}"));
        self.say(&format!("\n{head}"));
        self.say(&format!("     {}", self.palette.paint(Paint::Dim, about)));
    }

    /// Prints an action.
    pub(super) fn action(&self, what: &str) {
        self.say(&format!(
            "   {} {what}",
            self.palette.paint(Paint::Hint, "→")
        ));
    }

    /// Prints an observation.
    pub(super) fn observation(&self, what: &str) {
        self.say(&format!(
            "   {} {what}",
            self.palette.paint(Paint::Good, "✓")
        ));
    }

    /// Prints the output of a program, indented, up to `most` lines.
    pub(super) fn quote(&self, text: &str, most: usize) {
        let lines: Vec<_> = text
            .lines()
            .filter(|line| !line.trim().is_empty())
            .collect();
        for line in lines.iter().take(most) {
            self.say(&format!(
                "     {} {}",
                self.palette.paint(Paint::Dim, "│"),
                line.trim_end()
            ));
        }
        if lines.len() > most {
            let more = format!("… {} more lines", lines.len() - most);
            self.say(&format!(
                "     {} {}",
                self.palette.paint(Paint::Dim, "│"),
                more
            ));
        }
    }

    pub(super) fn end(&self, steps: usize, took: Duration) {
        let done = self
            .palette
            .paint(Paint::Good, format_args!("All {steps} steps succeeded"));
        self.say(&format!("\n{done} in {:.1} s.", took.as_secs_f64()));
    }

    pub(super) fn say(&self, text: &str) {
        // A closed stdout doesn't stop the demonstration.
        let _ = writeln!(&self.out, "{text}");
    }

    /// Repeats `look` until it succeeds, and prints how long that took. `look` returns the result, or what is
    /// still missing.
    pub(super) async fn observe<T, F>(
        &self,
        what: &str,
        mut look: impl FnMut() -> F,
    ) -> Result<T, Failure>
    where
        F: Future<Output = Result<T, String>>,
    {
        let begun = Instant::now();
        loop {
            match look().await {
                Ok(found) => {
                    let took = format!("{:.1} s", begun.elapsed().as_secs_f64());
                    self.observation(&format!("{what} {}", self.palette.paint(Paint::Dim, took)));
                    return Ok(found);
                }
                Err(missing) if begun.elapsed() > PATIENCE => {
                    return Err(Failure::new(format!(
                        "not observed within {} s: {what}: {missing}",
                        PATIENCE.as_secs()
                    )));
                }
                Err(_) => tokio::time::sleep(GLANCE).await,
            }
        }
    }
}
