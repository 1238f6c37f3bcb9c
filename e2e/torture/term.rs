//! SIGTERM under load: the server ends in good order and leaves nothing for the next start to do.

use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

use super::books::Recipe;
use super::dice::Dice;
use super::fleet::{Figures, Fleet};
use super::ground::{Pace, replayed_groups, with_server};
use super::{Ending, Setting};
use crate::client::Client;
use crate::scenario::Signal;

const TERMS: usize = 20;
const TERMS_FULL: usize = 200;
const TERMS_PER_ROUND: usize = 20;
const SHIPPERS: usize = 64;
/// The longest a server lives, once it is ready.
const LIFE: Duration = Duration::from_millis(300);
const CONFIG: &str = "
limits.paths_per_window = 1000000
limits.free_bytes = '1MiB'
";

pub(super) fn run(setting: &Setting) -> Result<Ending> {
    let rounds = if setting.full { TERMS_FULL } else { TERMS } / TERMS_PER_ROUND;
    with_server(setting, CONFIG, |server| {
        let mut dice = Dice::new(setting.seed, u64::MAX);
        let target = server.target().clone();
        let client = Client::new(target.clone());
        let mut figures = Figures::default();
        for round in 0..rounds {
            let recipe = Recipe::new(setting.seed, round as u64);
            let fleet = Fleet::new(recipe, setting.seed, SHIPPERS);
            fleet.ship(&target, || {
                for term in 0..TERMS_PER_ROUND {
                    // What waits for a checkpoint must be in the last one.
                    let pace = *dice.pick(&[Pace::Busy, Pace::Lazy]);
                    server.start_with(&pace.variables())?;
                    let replayed = replayed_groups(&client)?;
                    ensure!(replayed == 0, "after SIGTERM {term} {replayed} groups were replayed");
                    if term % 7 == 6 {
                        fleet.pause().check(&client)?;
                    }
                    thread::sleep(dice.time(Duration::ZERO, LIFE));
                    fleet.ensure_going()?;
                    server.stop(Signal::Term).with_context(|| format!("SIGTERM {term}"))?;
                }
                server.start()
            })?;
            fleet.check_all(&client)?;
            server.restart(Signal::Term)?;
            fleet.check_all(&client).context("after a restart in good order")?;
            server.stop(Signal::Term)?;
            figures += fleet.figures();
        }
        let terms = rounds * (TERMS_PER_ROUND + 2);
        Ok(Ending::Passed(format!("{terms} SIGTERMs, nothing replayed after any; {figures}")))
    })
}
