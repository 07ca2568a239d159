//! Faults, one after the other: what a scenario does to its nodes.

use crate::world::World;
use serde::{Serialize, Serializer};
use std::{fmt, str::FromStr};
use topos_overlay::{Millis, OverlayError, Random};

/// A fault, or the time between two. Written `crash 30%`, `wait 10s`, `partition 50% 30s`, `pause 10% 20s`, `hold 10% 500ms`,
/// `loss 20% 1m`; a list is divided by commas.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Fault {
    /// Nothing happens for so long.
    Wait(Millis),
    /// So many per cent of the nodes that live end without a word.
    Crash(f64),
    /// So many per cent of the nodes and the others hear nothing of each other for so long.
    Partition(f64, Millis),
    /// So many per cent of the nodes stand still for so long, with their links up.
    Pause(f64, Millis),
    /// What is sent to so many per cent of the nodes comes only after so long, in its order.
    Hold(f64, Millis),
    /// So many per cent of all messages are lost for so long, besides those that always are.
    Loss(f64, Millis),
}

/// The longest fault.
const DAY: Millis = 86_400_000;

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let time = |ms: &Millis| if ms % 1_000 == 0 { format!("{}s", ms / 1_000) } else { format!("{ms}ms") };
        match self {
            Self::Wait(ms) => write!(f, "wait {}", time(ms)),
            Self::Crash(share) => write!(f, "crash {share}%"),
            Self::Partition(share, ms) => write!(f, "partition {share}% {}", time(ms)),
            Self::Pause(share, ms) => write!(f, "pause {share}% {}", time(ms)),
            Self::Hold(share, ms) => write!(f, "hold {share}% {}", time(ms)),
            Self::Loss(share, ms) => write!(f, "loss {share}% {}", time(ms)),
        }
    }
}

impl Serialize for Fault {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl FromStr for Fault {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let words: Vec<&str> = text.split_whitespace().collect();
        Ok(match words[..] {
            ["wait", time] => Self::Wait(millis(time)?),
            ["crash", share] => Self::Crash(per_cent(share)?),
            ["partition", share, time] => Self::Partition(per_cent(share)?, millis(time)?),
            ["pause", share, time] => Self::Pause(per_cent(share)?, millis(time)?),
            ["hold", share, time] => Self::Hold(per_cent(share)?, millis(time)?),
            ["loss", share, time] => Self::Loss(per_cent(share)?, millis(time)?),
            _ => {
                return Err(format!(
                    "`{}` is no fault: wait TIME, crash PERCENT, or partition, pause, hold or loss PERCENT TIME",
                    text.trim()
                ))
            }
        })
    }
}

fn per_cent(text: &str) -> Result<f64, String> {
    let number = text.strip_suffix('%').unwrap_or(text);
    let share = number.parse().ok().filter(|share| (0.0..=99.0).contains(share));
    share.ok_or_else(|| format!("0% to 99% is expected, not `{text}`"))
}

fn millis(text: &str) -> Result<Millis, String> {
    let unit = text.trim_start_matches(|c: char| c.is_ascii_digit());
    let factor = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        _ => return Err(format!("a time as 500ms, 20s or 5m is expected, not `{text}`")),
    };
    let number = text[..text.len() - unit.len()].parse::<Millis>().ok();
    let time = number.and_then(|number| number.checked_mul(factor)).filter(|time| *time <= DAY);
    time.ok_or_else(|| format!("a time of up to a day is expected, not `{text}`"))
}

impl Fault {
    /// Lets it happen, and its time pass.
    pub(crate) fn run(self, world: &mut World, random: &mut Random) -> Result<(), OverlayError> {
        let mut living = world.living();
        let mut some = |share: f64| -> Vec<u32> {
            // Somebody has to be there to heal.
            let count = ((living.len() as f64 * share / 100.0).round() as usize).min(living.len().saturating_sub(1));
            random.sample(&mut living, count).to_vec()
        };
        let time = match self {
            Self::Wait(time) => time,
            Self::Crash(share) => {
                some(share).into_iter().for_each(|node| world.crash(node));
                0
            }
            Self::Partition(share, time) => {
                world.partition(&some(share));
                time
            }
            Self::Pause(share, time) => {
                some(share).into_iter().for_each(|node| world.pause(node, time));
                time
            }
            Self::Hold(share, time) => {
                some(share).into_iter().for_each(|node| world.hold(node, time));
                time
            }
            Self::Loss(share, time) => {
                let mut network = world.network();
                network.loss = (network.loss + (10.0 * share).round() as u32).min(1_000);
                let before = world.network();
                world.set_network(network);
                world.run_until(world.now() + time)?;
                world.set_network(before);
                return Ok(());
            }
        };
        world.run_until(world.now() + time)?;
        world.heal();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::Fault;

    #[test]
    fn a_fault_is_written_as_it_is_read() {
        for text in ["wait 1500ms", "crash 33.5%", "partition 50% 30s", "pause 1% 20s", "hold 5% 1ms", "loss 20% 60s"] {
            assert_eq!(text.parse::<Fault>().unwrap().to_string(), text);
        }
        assert_eq!("pause 10 2m".parse(), Ok(Fault::Pause(10.0, 120_000)));
    }

    #[test]
    fn what_is_no_fault_is_refused_with_what_was_expected() {
        let bad = [
            "",
            "crash",
            "crash 100%",
            "crash -1%",
            "crash NaN%",
            "wait 10",
            "wait -1s",
            "wait 25h",
            "wait 1441m",
            "burn 3%",
        ];
        for text in bad {
            assert!(text.parse::<Fault>().is_err(), "{text}");
        }
        assert_eq!("wait ½s".parse::<Fault>(), Err("a time as 500ms, 20s or 5m is expected, not `½s`".to_owned()));
    }
}
