//! `plumb demo`: demonstrates Plumb on this machine, and checks the result of each step. It uses throw-away
//! keys, a repository with Plumb's hooks, three folders that act as hosts, a receiver that acts as
//! Alertmanager, and the real controller. The controller is a separate process, so that the demonstration can
//! kill it.

mod alertmanager;
mod fleet;
mod keys;
mod receiver;
mod repository;
mod steps;
mod story;
mod world;

use std::time::Instant;

use crate::output::{Paint, Shell};
use crate::report::{Exit, Failure};

use story::Story;
use world::World;

/// The demonstration's action after its last step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AfterDemo {
    /// Exit.
    End,
    /// Keep everything running until interrupted, so that the user can look around.
    Stay,
}

/// Runs all steps, and checks the result of each.
///
/// # Errors
/// Returns the first step that fails, and the cause.
pub(crate) async fn run(shell: &Shell, after: AfterDemo) -> Result<Exit, Failure> {
    let begun = Instant::now();
    let story = Story::new(shell.out);
    story.title();
    let mut world = World::new().await?;
    let steps = steps::all();
    for (number, step) in steps.iter().enumerate() {
        story.chapter(number + 1, steps.len(), step.name, step.about);
        if let Err(failure) = (step.run)(&mut world, &story).await {
            let log = world.log_tail();
            let failure = Failure::new(format!("step {} ({}) failed", number + 1, step.name))
                .because(&std::io::Error::other(
                    failure
                        .render(crate::output::Palette::plain())
                        .trim()
                        .to_owned(),
                ));
            return Err(if log.is_empty() {
                failure
            } else {
                failure.hint(format!("the last lines of the controller's log:\n{log}"))
            });
        }
    }
    story.end(steps.len(), begun.elapsed());
    if after == AfterDemo::Stay {
        wait_for_interrupt(&world, &story, shell).await;
    }
    world.close().await;
    Ok(Exit::OK)
}

/// Keeps everything running until the user interrupts the program.
async fn wait_for_interrupt(world: &World, story: &Story, shell: &Shell) {
    let bold = |text: &str| shell.out.paint(Paint::Bold, text);
    story.say("The fleet stays up so that you can look around. Press Ctrl-C to stop it and remove everything.");
    for (what, how) in [
        ("the page", world.page.clone()),
        (
            "the hosts",
            format!("PLUMB_SOCKET={} plumb get hosts", world.socket.display()),
        ),
        (
            "a host's files",
            world.host_folder("web-1").display().to_string(),
        ),
        (
            "the repository",
            world.repository.work().display().to_string(),
        ),
    ] {
        story.say(&format!("  {what:<15} {}", bold(&how)));
    }
    // If the interruption can't be awaited, end at once.
    let _ = tokio::signal::ctrl_c().await;
}
