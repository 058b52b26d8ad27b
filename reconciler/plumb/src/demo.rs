//! `plumb demo`: shows Plumb on this machine, and observes the result of each step. It uses throw-away keys,
//! a repository with our hooks, three folders that stand for hosts, a receiver that stands for Alertmanager,
//! and the real controller as a process of its own, so that it can be killed.

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

/// The action after the last step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AfterDemo {
    /// End.
    End,
    /// Stay up until interrupted, so that the user can look around.
    Stay,
}

/// Runs the steps. The result of each must be observed.
///
/// # Errors
/// Names the step that failed, and why.
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

/// Stays up until interrupted.
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
