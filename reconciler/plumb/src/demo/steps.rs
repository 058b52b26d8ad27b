//! The steps of the demonstration. Each step does something and then checks the result in the hosts' files
//! and at the alert receiver, not only in the controller's answers.

use std::time::{Duration, Instant};

use futures::FutureExt as _;
use futures::future::BoxFuture;
use plumb_core::reason::ConditionReason;
use plumb_core::status::ConditionType;

use crate::report::Failure;

use super::fleet;
use super::receiver::AlertPhase;
use super::story::Story;
use super::world::{HOSTS, World};

type StepFuture<'a> = BoxFuture<'a, Result<(), Failure>>;

/// A step: its name, its topic, and its code.
pub(super) struct DemoStep {
    pub(super) name: &'static str,
    pub(super) about: &'static str,
    pub(super) run: for<'a> fn(&'a mut World, &'a Story) -> StepFuture<'a>,
}

/// Lists all steps in order.
pub(super) fn all() -> Vec<DemoStep> {
    vec![
        DemoStep {
            name: "A fleet with a trust policy",
            about: "The repository itself says who may change what; its first commit is the root of trust.",
            run: |world, story| begin(world, story).boxed(),
        },
        DemoStep {
            name: "A signed push reaches the hosts",
            about: "Look at the plan, push, and every host becomes what git says.",
            run: |world, story| signed_push(world, story).boxed(),
        },
        DemoStep {
            name: "An unsigned push reaches no host",
            about: "The hook refuses it. If it is forced past the hook, the controller holds the fleet and alerts.",
            run: |world, story| unsigned_push(world, story).boxed(),
        },
        DemoStep {
            name: "Two people for sensitive paths",
            about: "profiles/access.yaml needs one signature from ops and one from sec.",
            run: |world, story| two_people(world, story).boxed(),
        },
        DemoStep {
            name: "Drift is corrected",
            about: "web-1 has `drift: {mode: correct}`: the controller reverts manual changes.",
            run: |world, story| drift_corrected(world, story).boxed(),
        },
        DemoStep {
            name: "Drift is reported",
            about: "vault has `drift: {mode: alert}`: the controller leaves manual changes and alerts until they are gone.",
            run: |world, story| drift_reported(world, story).boxed(),
        },
        DemoStep {
            name: "The controller is killed in the middle of a rollout",
            about: "Started again, it finishes what it had begun.",
            run: |world, story| killed(world, story).boxed(),
        },
    ]
}

async fn begin(world: &mut World, story: &Story) -> Result<(), Failure> {
    let World {
        repository,
        alice,
        bob,
        carol,
        ..
    } = world;
    for person in [&*alice, bob, carol] {
        let (file, bytes) = person.file()?;
        repository.write(&file, bytes.as_bytes())?;
    }
    let policy = fleet::policy(&repository.id, alice, bob, carol);
    repository.write("trust/policy.yaml", policy.as_bytes())?;
    for (file, text) in fleet::FIRST {
        repository.write(file, text.as_bytes())?;
    }
    story.action(&format!(
        "throw-away keys: alice ({}), bob ({}) are ops; carol ({}) is sec",
        alice.kind(),
        bob.kind(),
        carol.kind()
    ));
    let introduction = repository.commit("A fleet and its policy", Some(alice))?;
    repository.introduce(&introduction)?;
    let pushed = repository.push(&["main"])?;
    if !pushed.accepted {
        return Err(Failure::new(format!(
            "the first push was refused: {}",
            pushed.said.trim()
        )));
    }
    story.observation("a bare repository has the hooks of hooks/ and the fleet's first commit");
    world.accepted.clone_from(&introduction);
    world.write_config(&introduction)?;
    world.start_controller()?;
    let page = world.page.clone();
    let world = &*world;
    story
        .observe(
            &format!("the controller runs and has accepted it; its page is {page}"),
            || async move {
                let fleet = world.fleet().await?;
                expect_equal(fleet.source.accepted.as_ref(), &world.accepted, "accepted")
            },
        )
        .await
}

async fn signed_push(world: &mut World, story: &Story) -> Result<(), Failure> {
    for (file, text) in fleet::MANIFESTS {
        world.repository.write(file, text.as_bytes())?;
    }
    let work = world.work();
    world.ask(&["check", &work]).await?;
    story.observation("`plumb check` finds no errors in three hosts and three profiles");
    let config = world.config().display().to_string();
    let plan = world.ask(&["plan", &work, "--config", &config]).await?;
    for host in HOSTS {
        if !plan.contains(host) {
            return Err(Failure::new(format!(
                "the plan doesn't mention {host}:\n{plan}"
            )));
        }
    }
    story.observation("`plumb plan` observes each host and shows what would change:");
    story.quote(&plan, 24);
    let commit = world.repository.commit("Three hosts", Some(&world.alice))?;
    story.action("alice signs and pushes");
    push(world, &["main"])?;
    converged(world, story, &commit).await?;
    let world = &*world;
    for (host, file, says) in [
        (
            "web-1",
            "/etc/motd",
            "This is web-1 of the fleet demo.example.",
        ),
        ("web-2", "/srv/site/site.conf", "neighbour web-1"),
        ("vault", "/etc/vault.conf", "sealed = yes"),
    ] {
        let text = world.host_file(host, file).unwrap_or_default();
        if !text.contains(says) {
            return Err(Failure::new(format!(
                "{file} of {host} doesn't contain `{says}`: {text:?}"
            )));
        }
    }
    story.observation("the files on the hosts match the manifests, templates rendered");
    let plan = world
        .ask(&["plan", &work, "--config", &config, "-o", "json"])
        .await?;
    nothing_planned(&plan)?;
    story.observation("a second plan is empty");
    Ok(())
}

async fn unsigned_push(world: &mut World, story: &Story) -> Result<(), Failure> {
    let text = world.repository.read("profiles/base.yaml")?;
    let text = fleet::edited(&text, "This is", "You have been had, this is")?;
    world
        .repository
        .write("profiles/base.yaml", text.as_bytes())?;
    let bad = world.repository.commit("Nothing to see here", None)?;
    story.action("mallory pushes a commit that nobody signed");
    let pushed = world.repository.push(&["main"])?;
    if pushed.accepted || !pushed.said.contains(&bad[..7]) {
        return Err(Failure::new(format!(
            "the hook's refusal doesn't name {bad}: {}",
            pushed.said
        )));
    }
    story.observation("the pre-receive hook refuses it:");
    story.quote(&pushed.said, 8);
    story.action("mallory has access to the git server and adds it there, past the hook");
    world.repository.push_past_hooks()?;
    let world = &*world;
    let wanted = bad.clone();
    let held = story
        .observe("the controller holds it", || {
            let bad = wanted.clone();
            async move {
                let fleet = world.fleet().await?;
                let held = fleet.source.held.ok_or("nothing is held")?;
                expect_equal(Some(&held.commit), &bad, "held")?;
                expect_equal(fleet.source.accepted.as_ref(), &world.accepted, "accepted")?;
                Ok(held)
            }
        })
        .await?;
    story.quote(&held.reasons.join("\n"), 4);
    let alert = fires(world, story, "PlumbCommitVerificationFailed", None).await?;
    let told = alert
        .annotations
        .values()
        .cloned()
        .collect::<Vec<_>>()
        .join(" ");
    if !told.contains(&bad[..7]) || !told.contains("ops") {
        return Err(Failure::new(format!(
            "the alert doesn't name the commit and what it lacks: {told}"
        )));
    }
    for annotation in ["summary", "description"] {
        story.quote(
            alert.annotations.get(annotation).map_or("", String::as_str),
            3,
        );
    }
    let motd = world.host_file("web-1", "/etc/motd").unwrap_or_default();
    if motd.contains("had") {
        return Err(Failure::new("an unsigned commit reached a host"));
    }
    story.observation("every host still matches the last accepted commit");
    story.action("alice sets the branch back to it");
    world.repository.reset(&world.accepted)?;
    push(world, &["+main"])?;
    resolves(world, story, "PlumbCommitVerificationFailed", None).await
}

async fn two_people(world: &mut World, story: &Story) -> Result<(), Failure> {
    let text = world.repository.read("profiles/access.yaml")?;
    let text = fleet::edited(&text, "PasswordAuthentication no", "PermitRootLogin no")?;
    world
        .repository
        .write("profiles/access.yaml", text.as_bytes())?;
    let commit = world
        .repository
        .commit("No root over ssh", Some(&world.alice))?;
    story.action("alice signs and pushes a change of profiles/access.yaml");
    push(world, &["main"])?;
    let seen = &*world;
    let wanted = commit.clone();
    let held = story
        .observe("it is held: one signature isn't enough", || {
            let commit = wanted.clone();
            async move {
                let fleet = seen.fleet().await?;
                let held = fleet.source.held.ok_or("nothing is held")?;
                expect_equal(Some(&held.commit), &commit, "held")?;
                Ok(held)
            }
        })
        .await?;
    story.quote(&held.reasons.join("\n"), 4);
    let sshd = "/etc/ssh/sshd_config.d/10-fleet.conf";
    if HOSTS.iter().any(|host| {
        seen.host_file(host, sshd)
            .is_none_or(|text| text.contains("PermitRootLogin"))
    }) {
        return Err(Failure::new(
            "a change that lacks a signature reached a host",
        ));
    }
    story.observation("no host has it");
    let tag = world.repository.approve(&commit, &world.carol)?;
    story.action(&format!("carol looks at it and pushes a signed tag, {tag}"));
    push(world, &[&format!("refs/tags/{tag}")])?;
    converged(world, story, &commit).await?;
    let world = &*world;
    if HOSTS.iter().any(|host| {
        world
            .host_file(host, sshd)
            .is_none_or(|text| !text.contains("PermitRootLogin no"))
    }) {
        return Err(Failure::new("the approved change isn't on every host"));
    }
    Ok(())
}

async fn drift_corrected(world: &mut World, story: &Story) -> Result<(), Failure> {
    let world = &*world;
    let before = world.host_file("web-1", "/etc/motd").unwrap_or_default();
    story.action("somebody logs in to web-1 and edits /etc/motd");
    world.edit_by_hand("web-1", "/etc/motd", "I was here\n")?;
    story
        .observe("the controller puts it back", || async {
            let now = world.host_file("web-1", "/etc/motd");
            if now.as_deref() == Some(before.as_str()) {
                Ok(())
            } else {
                Err(format!("the file contains {now:?}"))
            }
        })
        .await?;
    let events = story
        .observe("an event records it", || async {
            let host = "web-1".parse().map_err(|_| "no name".to_owned())?;
            let events = world.client.events(Some(&host)).await;
            let events =
                events.map_err(|failure| failure.render(crate::output::Palette::plain()))?;
            let drift = events
                .into_iter()
                .rev()
                .find(|event| event.reason == ConditionReason::DriftCorrected);
            drift.ok_or_else(|| "no event mentions drift".to_owned())
        })
        .await?;
    story.quote(&format!("{}: {}", events.reason, events.message), 2);
    Ok(())
}

async fn drift_reported(world: &mut World, story: &Story) -> Result<(), Failure> {
    let world = &*world;
    let before = world
        .host_file("vault", "/etc/vault.conf")
        .unwrap_or_default();
    story.action("somebody logs in to vault and edits /etc/vault.conf");
    world.edit_by_hand("vault", "/etc/vault.conf", "sealed = no\n")?;
    let alert = fires(world, story, "PlumbHostDrifted", Some("vault")).await?;
    let labels: Vec<_> = alert
        .labels
        .iter()
        .map(|(key, value)| format!("{key}={value}"))
        .collect();
    story.quote(&labels.join(" "), 2);
    if alert
        .labels
        .get("team")
        .is_none_or(|team| team != "security")
    {
        return Err(Failure::new(
            "the alert lacks the labels of the host's manifest",
        ));
    }
    tokio::time::sleep(Duration::from_secs(2)).await;
    if world.host_file("vault", "/etc/vault.conf").as_deref() != Some("sealed = no\n") {
        return Err(Failure::new(
            "drift was corrected on a host whose mode is alert",
        ));
    }
    story.observation("the file stays as it is");
    story.action("somebody repairs it by hand");
    world.edit_by_hand("vault", "/etc/vault.conf", &before)?;
    resolves(world, story, "PlumbHostDrifted", Some("vault")).await
}

async fn killed(world: &mut World, story: &Story) -> Result<(), Failure> {
    // Kill the controller after it has changed one host and before it changes the next. If the controller was
    // faster, try again.
    for round in 1..=5 {
        let text = world.repository.read("profiles/base.yaml")?;
        let (from, _) = text
            .split_once("\\n\"}")
            .ok_or_else(|| Failure::new("no motd to change"))?;
        let from = from.rsplit('\n').next().unwrap_or_default().to_owned();
        let mark = format!("Round {round}.");
        let text = fleet::edited(&text, &from, &format!("{from} {mark}"))?;
        world
            .repository
            .write("profiles/base.yaml", text.as_bytes())?;
        let commit = world.repository.commit(
            &format!("A change for every host, {round}"),
            Some(&world.bob),
        )?;
        story.action("bob signs and pushes a change for every host");
        push(world, &["main"])?;
        let done = |world: &World| {
            let has = |host: &&&str| {
                world
                    .host_file(host, "/etc/motd")
                    .is_some_and(|text| text.contains(&mark))
            };
            HOSTS.iter().filter(has).count()
        };
        let begun = Instant::now();
        while done(world) == 0 {
            if begun.elapsed() > Duration::from_secs(30) {
                return Err(Failure::new("the change reached no host"));
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        world.kill_controller().await?;
        let reached = done(world);
        story.action(&format!(
            "the controller is killed (SIGKILL) with {reached} of {} hosts done",
            HOSTS.len()
        ));
        world.start_controller()?;
        story.action("it is started again");
        converged(world, story, &commit).await?;
        if done(world) != HOSTS.len() {
            return Err(Failure::new("not every host has the change"));
        }
        if reached < HOSTS.len() {
            story.observation("no host was left behind");
            return Ok(());
        }
        story.action("the kill came after the rollout had ended; trying again");
    }
    Err(Failure::new(
        "five kills in a row came after the rollout had ended",
    ))
}

/// Pushes, and fails if the hooks reject it.
fn push(world: &World, what: &[&str]) -> Result<(), Failure> {
    let pushed = world.repository.push(what)?;
    if pushed.accepted {
        Ok(())
    } else {
        Err(Failure::new(format!(
            "the push was refused: {}",
            pushed.said.trim()
        )))
    }
}

/// Waits until the controller reports that every host runs a commit.
async fn converged(world: &mut World, story: &Story, commit: &str) -> Result<(), Failure> {
    let seen = &*world;
    story
        .observe(
            &format!("all {} hosts run {}", HOSTS.len(), &commit[..12]),
            || async move {
                let fleet = seen.fleet().await?;
                expect_equal(fleet.source.accepted.as_ref(), commit, "accepted")?;
                for name in HOSTS {
                    let host = fleet
                        .hosts
                        .iter()
                        .find(|host| host.metadata.name.as_str() == name)
                        .ok_or_else(|| format!("{name} doesn't exist"))?;
                    let conditions = &host.status.conditions;
                    for kind in [ConditionType::Ready, ConditionType::Synced] {
                        if !conditions.is_true(kind) {
                            return Err(format!(
                                "{name} isn't {kind:?}: {:?}",
                                conditions.get(kind)
                            ));
                        }
                    }
                    expect_equal(host.status.revision.as_ref(), commit, "run")?;
                }
                Ok(())
            },
        )
        .await?;
    commit.clone_into(&mut world.accepted);
    Ok(())
}

async fn fires(
    world: &World,
    story: &Story,
    name: &str,
    host: Option<&str>,
) -> Result<plumb_core::alert::Alert, Failure> {
    let alert = story
        .observe(&format!("{name} fires at the receiver"), || async {
            match world.received.find(name, host) {
                Some((alert, AlertPhase::Firing)) => Ok(alert),
                Some((_, AlertPhase::Resolved)) => {
                    Err("the controller says that it is resolved".to_owned())
                }
                None => Err("it never arrived".to_owned()),
            }
        })
        .await?;
    if let Some(real) = &world.alertmanager {
        story
            .observe("and in the real Alertmanager", || async {
                real.has(name, host)
                    .await?
                    .then_some(())
                    .ok_or_else(|| "it isn't there".to_owned())
            })
            .await?;
    }
    Ok(alert)
}

async fn resolves(
    world: &World,
    story: &Story,
    name: &str,
    host: Option<&str>,
) -> Result<(), Failure> {
    story
        .observe(&format!("{name} is resolved at the receiver"), || async {
            match world.received.find(name, host) {
                Some((_, AlertPhase::Resolved)) => Ok(()),
                _ => Err("it still fires".to_owned()),
            }
        })
        .await?;
    if let Some(real) = &world.alertmanager {
        story
            .observe("and in the real Alertmanager", || async {
                let gone = !real.has(name, host).await?;
                gone.then_some(())
                    .ok_or_else(|| "it is still there".to_owned())
            })
            .await?;
    }
    Ok(())
}

fn expect_equal(found: Option<&String>, wanted: &str, what: &str) -> Result<(), String> {
    match found {
        Some(found) if found == wanted => Ok(()),
        Some(found) => Err(format!("{what}: {found}, not {wanted}")),
        None => Err(format!("{what}: nothing")),
    }
}

/// Fails if a plan in JSON has changes.
fn nothing_planned(plan: &str) -> Result<(), Failure> {
    let plan: serde_json::Value = serde_json::from_str(plan)
        .map_err(|error| Failure::new(format!("the plan isn't valid JSON: {error}")))?;
    let hosts = plan["hosts"]
        .as_object()
        .ok_or_else(|| Failure::new("the plan has no hosts"))?;
    for (host, plan) in hosts {
        if plan["changes"]
            .as_array()
            .is_none_or(|changes| !changes.is_empty())
        {
            return Err(Failure::new(format!(
                "the second plan changes {host}: {plan}"
            )));
        }
    }
    Ok(())
}
