//! `topos run --engine sim` and `topos test --engine sim`: a compiled program, or tests, on virtual nodes, all in one VM. The Erlang
//! side is `topos_sim` and `topos_test_simulated`.

use std::{
    collections::hash_map::RandomState,
    fmt,
    hash::{BuildHasher, Hasher},
    io,
    process::{Command, Stdio},
    str::FromStr,
};

use super::{names, output::Output, Plan};
use crate::{
    args::{Run, Simulation, Test},
    failure::Error,
    render::Style,
};

/// The name of the engine.
pub(crate) const ENGINE: &str = "sim";

/// Nodes that are VMs of this machine, at most.
const MAX_REAL_NODES: u16 = 64;
/// A longest time: a year.
const MAX_MICROS: u64 = 365 * 86_400 * 1_000_000;
/// More names than these are not listed.
const MAX_LISTED: usize = 8;

/// A share, in per cent: `10%`, or `10`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Share(f64);

impl Share {
    /// From 0 to 1.
    fn fraction(self) -> f64 {
        self.0 / 100.0
    }
}

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}%", self.0)
    }
}

impl FromStr for Share {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number = text.strip_suffix('%').unwrap_or(text).trim_end();
        let share = number.parse().ok().filter(|share| (0.0..=99.0).contains(share));
        share.map(Self).ok_or_else(|| format!("0% to 99% is expected, not `{text}`"))
    }
}

/// From one time to another, in microseconds: `5ms`, or `5ms..50ms`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Times(u64, u64);

impl FromStr for Times {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (first, last) = text.split_once("..").unwrap_or((text, text));
        let (first, last) = (micros(first)?, micros(last)?);
        if first <= last {
            Ok(Self(first, last))
        } else {
            Err(format!("`{text}` begins after its end"))
        }
    }
}

impl fmt::Display for Times {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 == self.1 {
            Time(self.0).fmt(f)
        } else {
            write!(f, "{}..{}", Time(self.0), Time(self.1))
        }
    }
}

/// A time in microseconds: `5ms`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Time(u64);

impl Time {
    /// So many seconds.
    pub(crate) fn of_seconds(seconds: u32) -> Self {
        Self(u64::from(seconds) * 1_000_000)
    }
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            micros if micros % 1_000 != 0 => write!(f, "{micros}us"),
            micros if micros % 1_000_000 != 0 => write!(f, "{}ms", micros / 1_000),
            micros => write!(f, "{}s", micros / 1_000_000),
        }
    }
}

impl FromStr for Time {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        micros(text).map(Self)
    }
}

/// The seeds to try: `1..100`, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Seeds(u64, u64);

impl FromStr for Seeds {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let range = text.split_once("..").and_then(|(first, last)| {
            let (first, last) = (first.trim().parse().ok()?, last.trim().parse().ok()?);
            (first <= last).then_some(Self(first, last))
        });
        range.ok_or_else(|| format!("the first and the last seed are expected, as 1..100, not `{text}`"))
    }
}

/// Something that happens to nodes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NodeFault {
    /// As it was given.
    text: String,
    /// In the words of `topos_sim_options`.
    words: String,
}

impl FromStr for NodeFault {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let words: Vec<&str> = text.split_whitespace().collect();
        let millis = |time: &str| micros(time).map(|micros| micros.div_ceil(1_000).max(1));
        let fault = match words[..] {
            ["wait", time] => format!("wait,{}", millis(time)?),
            ["loss", share, time] => format!("loss,{},{}", share.parse::<Share>()?.fraction(), millis(time)?),
            ["crash", ref nodes @ .., time] if !nodes.is_empty() && micros(time).is_ok() => {
                format!("crash,{},{}", who(nodes)?, millis(time)?)
            }
            ["crash", ref nodes @ ..] if !nodes.is_empty() => format!("crash,{},", who(nodes)?),
            [fault @ ("partition" | "pause" | "hold"), ref nodes @ .., time] if !nodes.is_empty() => {
                format!("{fault},{},{}", who(nodes)?, millis(time)?)
            }
            _ => {
                return Err(format!(
                    "`{}` is no fault: wait TIME, crash NODES [TIME], loss PERCENT TIME, or partition, pause or hold NODES TIME",
                    text.trim()
                ))
            }
        };
        Ok(Self { text: words.join(" "), words: fault })
    }
}

/// A share of the nodes, or their names.
fn who(nodes: &[&str]) -> Result<String, String> {
    match nodes {
        [share] if share.ends_with('%') => Ok(share.parse::<Share>()?.fraction().to_string()),
        names => match names.iter().find(|name| !is_node(name)) {
            None => Ok(names.join("+")),
            Some(name) => {
                Err(format!("`{name}` is no node: they are called seed, node2, node3, ...; a share is written 30%"))
            }
        },
    }
}

fn is_node(name: &str) -> bool {
    let number = name.strip_prefix("node").and_then(|number| number.parse::<u16>().ok());
    name == "seed" || number.is_some_and(|number| number > 1 && name == format!("node{number}"))
}

fn micros(text: &str) -> Result<u64, String> {
    let text = text.trim();
    let unit = text.trim_start_matches(|c: char| c.is_ascii_digit());
    let factor = match unit {
        "us" => 1,
        "ms" => 1_000,
        "s" => 1_000_000,
        "m" => 60_000_000,
        "h" => 3_600_000_000,
        _ => return Err(format!("a time as 500us, 20ms, 5s, 1m or 1h is expected, not `{text}`")),
    };
    let number = text[..text.len() - unit.len()].parse::<u64>().ok();
    let time = number.and_then(|number| number.checked_mul(factor)).filter(|time| *time <= MAX_MICROS);
    time.ok_or_else(|| format!("a time of up to a year is expected, not `{text}`"))
}

/// Whether what was asked of a run goes with the engine.
pub(crate) fn check_run(args: &Run) -> Result<(), Error> {
    let own = [("--seed", args.seed.is_some()), ("--max-time", args.max_time.is_some())];
    check(args.engine.as_deref(), args.nodes, &args.simulation, &own)
}

/// Whether what was asked of tests goes with the engine.
pub(crate) fn check_test(args: &Test) -> Result<(), Error> {
    if args.simulation.nemesis.iter().any(NodeFault::ends_first) {
        return Err(wrong("--nemesis crashes seed, which runs the tests".into(), "crash other nodes"));
    }
    check(args.engine.as_deref(), args.nodes, &args.simulation, &[])
}

/// `own`: what else is for simulations alone, and whether it was given.
fn check(engine: Option<&str>, nodes: u16, asked: &Simulation, own: &[(&str, bool)]) -> Result<(), Error> {
    if engine == Some(ENGINE) {
        let highest = asked.nemesis.iter().flat_map(NodeFault::numbers).max().unwrap_or(1);
        return if highest > nodes {
            Err(wrong(format!("--nemesis names node{highest}, but there are {nodes} nodes"), "raise --nodes"))
        } else {
            Ok(())
        };
    }
    let given = [
        ("--seeds", asked.seeds.is_some()),
        ("--delay", asked.delay.is_some()),
        ("--loss", asked.loss.is_some()),
        ("--duplicate", asked.duplicate.is_some()),
        ("--nemesis", !asked.nemesis.is_empty()),
        ("--max-steps", asked.max_steps.is_some()),
        ("--trace", asked.trace),
    ];
    if let Some((option, _)) = own.iter().chain(&given).find(|(_, given)| *given) {
        return Err(wrong(format!("{option} is for simulations"), "add --engine sim"));
    }
    if nodes > MAX_REAL_NODES {
        let most = format!("{nodes} nodes would be {nodes} VMs of this machine; {MAX_REAL_NODES} are the most");
        return Err(wrong(most, "simulate them: --engine sim"));
    }
    Ok(())
}

fn wrong(message: String, help: &str) -> Error {
    Error::new("TP0818", message, help)
}

impl NodeFault {
    /// The numbers of the nodes it names.
    fn numbers(&self) -> impl Iterator<Item = u16> + '_ {
        self.words.split([',', '+']).filter_map(|word| word.strip_prefix("node")?.parse().ok())
    }

    /// Whether it names the first node and ends it.
    fn ends_first(&self) -> bool {
        self.words.starts_with("crash,") && self.words.split([',', '+']).any(|word| word == "seed")
    }
}

/// What each node runs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Program<'a> {
    /// Its module.
    pub(crate) main: &'a str,
    /// For it.
    pub(crate) args: &'a [String],
}

/// How to simulate it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asked<'a> {
    /// Without one it is drawn by lot.
    pub(crate) seed: Option<u64>,
    /// Of virtual time.
    pub(crate) max_time: Option<Time>,
    /// What else.
    pub(crate) simulation: &'a Simulation,
}

/// A seed from those that the standard library draws from the operating system.
pub(crate) fn drawn_seed() -> u64 {
    RandomState::new().build_hasher().finish() % 1_000_000
}

/// Simulates the nodes to their end and answers the exit status.
pub(crate) fn run(plan: &Plan<'_>, program: Program<'_>, asked: Asked<'_>, style: Style) -> io::Result<i32> {
    let names = names(plan.nodes);
    let output = Output::new(&names, false, style);
    match asked.simulation.seeds {
        None => {
            let seed = asked.seed.unwrap_or_else(drawn_seed);
            output.remark(&format!("engine {ENGINE}, seed {seed}, nodes {}", listed(&names)))?;
            show(plan, program, asked, seed, style, &output)
        }
        Some(Seeds(first, last)) => {
            output.remark(&format!("engine {ENGINE}, seeds {first} to {last}, nodes {}", listed(&names)))?;
            let mut search = simulate(plan, program, asked, style, &format!("seeds={first}..{last}"));
            let found = search.stdin(Stdio::null()).stderr(Stdio::inherit()).output()?;
            let said = String::from_utf8_lossy(&found.stdout);
            let failed = said.lines().find_map(|line| line.strip_prefix("failed ")?.parse().ok());
            match failed {
                Some(seed) => {
                    output.remark(&format!("seed {seed} fails, the first of {}", last - first + 1))?;
                    let status = show(plan, program, asked, seed, style, &output)?;
                    if status == 0 {
                        // What Erlang code does, and the numbers of processes, are not the seed's.
                        output
                            .remark("it does not fail alone: the program depends on something that is not simulated")?;
                        return Ok(1);
                    }
                    Ok(status)
                }
                None if found.status.success() && said.lines().any(|line| line == "passed") => {
                    output.remark(&format!("no failure with {} seeds", last - first + 1))?;
                    Ok(0)
                }
                None => Ok(found.status.code().filter(|code| *code != 0).unwrap_or(1)),
            }
        }
    }
}

/// One run, with its output.
fn show(
    plan: &Plan<'_>,
    program: Program<'_>,
    asked: Asked<'_>,
    seed: u64,
    style: Style,
    output: &Output,
) -> io::Result<i32> {
    let status = simulate(plan, program, asked, style, &format!("seed={seed}")).stdin(Stdio::null()).status()?;
    let code = status.code().unwrap_or(1);
    if code != 0 {
        output.remark(&format!("failed with seed {seed}; the same run again: --seed {seed}"))?;
    }
    Ok(code)
}

fn simulate(plan: &Plan<'_>, program: Program<'_>, asked: Asked<'_>, style: Style, seed: &str) -> Command {
    let mut command = command(plan, "topos_sim", asked, style, seed);
    command.arg(program.main).args(program.args);
    command
}

/// Runs tests, each on nodes of its own, and answers the exit status; the arguments are those of `topos_test_simulated`.
pub(crate) fn test(plan: &Plan<'_>, arguments: &[String], asked: Asked<'_>, style: Style) -> io::Result<i32> {
    let seed = match (asked.simulation.seeds, asked.seed) {
        (Some(Seeds(first, last)), _) => format!("seeds={first}..{last}"),
        (None, seed) => format!("seed={}", seed.unwrap_or_else(drawn_seed)),
    };
    let mut tests = command(plan, "topos_test_simulated", asked, style, &seed);
    let status = tests.args(arguments).stdin(Stdio::null()).status()?;
    Ok(status.code().unwrap_or(1))
}

/// The options that were given, as they are written on a command line.
pub(crate) fn options(asked: &Simulation) -> Vec<String> {
    let faults: Vec<&str> = asked.nemesis.iter().map(|fault| fault.text.as_str()).collect();
    let given = [
        ("--delay", asked.delay.map(|delay| delay.to_string())),
        ("--loss", asked.loss.map(|loss| loss.to_string())),
        ("--duplicate", asked.duplicate.map(|share| share.to_string())),
        ("--nemesis", (!faults.is_empty()).then(|| format!("'{}'", faults.join(", ")))),
        ("--max-steps", asked.max_steps.map(|most| most.to_string())),
    ];
    given.into_iter().filter_map(|(option, value)| Some(format!("{option} {}", value?))).collect()
}

/// A VM that simulates, up to the arguments of its entry.
fn command(plan: &Plan<'_>, entry: &str, asked: Asked<'_>, style: Style, seed: &str) -> Command {
    let Asked { max_time, simulation: asked, .. } = asked;
    let mut command = plan.home.vm();
    // One process runs at a time, so one scheduler is the fastest; and with one, processes are numbered in order.
    command.args(["+S", "1:1", "+sbwt", "none", "-pa"]).arg(plan.beams).args(&plan.home.ebins);
    command.args(["-kernel", "logger", super::LOGGER, "logger_level", "warning", "logger_sasl_compatible", "true"]);
    command.args(["-s", entry, "main", "-extra", seed]);
    command.arg(format!("nodes={}", plan.nodes)).arg(format!("host={}", plan.host));
    if let Some(Times(first, last)) = asked.delay {
        command.arg(format!("delay={first}..{last}"));
    }
    if let Some(loss) = asked.loss {
        command.arg(format!("loss={}", loss.fraction()));
    }
    if let Some(duplicate) = asked.duplicate {
        command.arg(format!("duplicate={}", duplicate.fraction()));
    }
    if !asked.nemesis.is_empty() {
        let faults: Vec<&str> = asked.nemesis.iter().map(|fault| fault.words.as_str()).collect();
        command.arg(format!("nemesis={}", faults.join(";")));
    }
    if let Some(Time(most)) = max_time {
        command.arg(format!("max_time={}", most.div_ceil(1_000).max(1)));
    }
    if let Some(most) = asked.max_steps {
        command.arg(format!("max_steps={most}"));
    }
    command.arg(format!("trace={}", asked.trace)).arg(format!("color={}", style == Style::Coloured));
    command.arg("--").env("ERL_CRASH_DUMP_SECONDS", "0");
    command
}

fn listed(names: &[String]) -> String {
    match names {
        [first, .., last] if names.len() > MAX_LISTED => format!("{first} to {last}"),
        _ => names.join(", "),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_become_words() {
        let fault = |text: &str| text.parse::<NodeFault>().map(|fault| fault.words);
        assert_eq!(fault("wait 1s"), Ok("wait,1000".into()));
        assert_eq!(fault("crash 30%"), Ok("crash,0.3,".into()));
        assert_eq!(fault("crash node2 node3 500ms"), Ok("crash,node2+node3,500".into()));
        assert_eq!(fault("partition seed 2m"), Ok("partition,seed,120000".into()));
        assert_eq!(fault("loss 5% 1h"), Ok("loss,0.05,3600000".into()));
        for wrong in ["", "wait", "crash", "partition 5s", "pause node1 5s", "hold 120% 5s", "wait 5", "burn node2 1s"]
        {
            assert!(fault(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn times_have_an_order() {
        assert_eq!("5ms..1s".parse(), Ok(Times(5_000, 1_000_000)));
        assert_eq!("20us".parse(), Ok(Times(20, 20)));
        assert!("1s..5ms".parse::<Times>().is_err() && "99999999h".parse::<Times>().is_err());
        assert!("9..1".parse::<Seeds>().is_err() && "1..9".parse::<Seeds>().is_ok());
    }

    #[test]
    fn options_of_simulations_need_one() {
        let asked = Simulation { trace: true, ..Simulation::default() };
        assert!(check(None, 3, &asked, &[]).is_err());
        assert!(check(Some(ENGINE), 3, &asked, &[]).is_ok());
        assert!(check(None, 3, &Simulation::default(), &[("--seed", true)]).is_err());
        assert!(check(Some("otp"), 65, &Simulation::default(), &[]).is_err());
        let asked = Simulation { nemesis: vec!["crash node4".parse().unwrap()], ..Simulation::default() };
        assert!(check(Some(ENGINE), 3, &asked, &[]).is_err() && check(Some(ENGINE), 4, &asked, &[]).is_ok());
    }

    #[test]
    fn options_are_written_as_they_are_read() {
        let asked = Simulation {
            delay: Some("5ms..1s".parse().unwrap()),
            loss: Some("7%".parse().unwrap()),
            nemesis: ["crash  node2 3s", "wait 1s"].map(|fault| fault.parse().unwrap()).into(),
            ..Simulation::default()
        };
        let written = options(&asked);
        assert_eq!(written, ["--delay 5ms..1s", "--loss 7%", "--nemesis 'crash node2 3s, wait 1s'"]);
        assert_eq!(
            ["20us".parse(), "2ms..2ms".parse()].map(|t: Result<Times, _>| t.unwrap().to_string()),
            ["20us", "2ms"]
        );
    }
}
