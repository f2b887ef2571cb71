//! `campanile rules test`: plays readings against the rules of a configuration and prints what would be raised. It asks
//! nobody, waits for nothing and changes nothing.

mod readings;

use std::{collections::BTreeMap, io::Read, path::PathBuf, sync::Arc};

use clap::{Args, Subcommand};

use self::readings::{Line, Said};
use super::{Failure, Shared, report};
use crate::{
    base::{Error, Kind, Moment, Monotonic, WallTime},
    config::{HumanDuration, Rule, RuleId},
    events::{
        EventType,
        alarms::{Alarms, NoWitness, Output},
        payload::AlertEvent,
        rules::{Device, Occurrence, Reading, Rules},
    },
};

#[derive(Debug, Subcommand)]
pub(super) enum RulesCommand {
    /// Play readings against the rules, and print what would be raised
    Test(TestArguments),
}

#[derive(Debug, Args)]
pub(super) struct TestArguments {
    /// Readings in the order of their times: JSON lines or CSV (time, sensor, value, and kind); `-` is standard input
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Only this rule
    #[arg(long, value_name = "ID")]
    rule: Option<String>,
    /// How long to wait after the last reading
    #[arg(long, value_name = "SPAN", default_value = "0s")]
    wait: HumanDuration,
    /// Print the alerts as JSON, one change a line
    #[arg(long)]
    json: bool,
    /// End with exit code 1 if anything would be raised
    #[arg(long)]
    fail_if_raised: bool,
}

pub(super) fn run(shared: &Shared, command: &RulesCommand) -> Result<(), Failure> {
    let RulesCommand::Test(arguments) = command;
    let (config, origin) = shared.open()?;
    let rules: Vec<Rule> = config.rules.iter().filter(|rule| rule.enabled).filter_map(|rule| rule.resolve()).collect();
    let wanted = |rule: &Rule| arguments.rule.as_ref().is_none_or(|id| rule.id.as_str() == id);
    let rules: Vec<Rule> = rules.into_iter().filter(wanted).collect();
    if rules.is_empty() {
        let message = match &arguments.rule {
            Some(id) => format!("{origin}: no rule `{id}` is at work"),
            None => format!("{origin}: there is no rule"),
        };
        let hint = "write one below `rules:`, such as `- preset: temperature`";
        return Err(Error::new(Kind::InvalidArgument, message).with_hint(hint).into());
    }
    let lines = readings::parse(&text(&arguments.file)?).map_err(|(line, message)| {
        let file = arguments.file.display();
        Error::new(Kind::InvalidArgument, format!("{file}:{line}: {message}"))
    })?;
    let mut play = Play::new(rules, lines.first().map_or(WallTime::from_unix_nanos(0), |line| line.time));
    for line in &lines {
        play.line(line);
    }
    if let Some(last) = lines.last() {
        play.until(play.moment(last.time).monotonic + arguments.wait.duration());
    }
    for event in &play.events {
        let shown = if arguments.json { serde_json::to_string(event).unwrap_or_default() } else { words(event) };
        report::print(&format!("{shown}\n"))?;
    }
    let (raised, active) = (play.raised, play.alarms.active().len());
    if !arguments.json {
        let plural = |count, word: &str| format!("{count} {word}{}", if count == 1 { "" } else { "s" });
        let read = plural(lines.len(), "line");
        report::print(&format!("{read}, {} raised, {active} active at the end\n", plural(raised, "alert")))?;
    }
    if arguments.fail_if_raised && raised > 0 { Err(Failure::Said) } else { Ok(()) }
}

/// The most that is read.
const MOST: u64 = 256 << 20;

fn text(file: &std::path::Path) -> Result<String, Failure> {
    let mut text = String::new();
    let read = if file.as_os_str() == "-" {
        std::io::stdin().take(MOST).read_to_string(&mut text)
    } else {
        std::fs::File::open(file).and_then(|open| open.take(MOST).read_to_string(&mut text))
    };
    read.map_err(|error| {
        Failure::from(Error::new(Kind::NotFound, format!("readings `{}`", file.display())).caused_by(error))
    })?;
    Ok(text)
}

fn words(event: &AlertEvent) -> String {
    let alert = &event.alert;
    let about = alert.sensor.as_ref().map(ToString::to_string).or_else(|| alert.path.as_ref().map(ToString::to_string));
    let (change, severity, about) = (event.change.name(), alert.severity.name(), about.unwrap_or_default());
    let at = alert.ended_at.as_ref().unwrap_or(&alert.updated_at);
    format!("{at} {change} {severity} {} {about}: {}", alert.rule, alert.title)
}

/// The machines, and what they said.
struct Play {
    rules: Rules,
    alarms: Alarms,
    zero: Moment,
    events: Vec<AlertEvent>,
    raised: usize,
}

impl Play {
    fn new(rules: Vec<Rule>, begin: WallTime) -> Self {
        let by_id: BTreeMap<RuleId, Arc<Rule>> =
            rules.iter().map(|rule| (rule.id.clone(), Arc::new(rule.clone()))).collect();
        let zero = Moment { monotonic: Monotonic::from_nanos(1), wall: begin };
        let alarms = Alarms::resume([], [], &by_id, Arc::new(NoWitness), begin);
        let mut machine = Rules::default();
        machine.set_rules(rules, zero);
        Self { rules: machine, alarms, zero, events: Vec::new(), raised: 0 }
    }

    fn moment(&self, time: WallTime) -> Moment {
        self.zero.at(self.zero.monotonic_of(time))
    }

    fn line(&mut self, line: &Line) {
        let now = self.moment(line.time);
        self.until(now.monotonic);
        match &line.said {
            Said::Reading { sensor, kind, unit, value } => {
                let (kind, every) = (kind.clone().unwrap_or_default(), line.every);
                let (name, path) = (sensor.to_string(), line.path.clone());
                let unit = unit.clone();
                self.rules.handle_device(Device { sensor: sensor.clone(), name, kind, unit, path, every }, now);
                let (sensor, value) = (sensor.clone(), value.clone());
                self.rules.handle_reading(Reading { sensor, value, time: line.time }, now);
            }
            Said::Event(kind) => {
                let (kind, path) = (kind.clone(), line.path.clone());
                self.rules.handle_event(&Occurrence { kind, security: false, path, time: line.time }, now);
            }
        }
        self.take(now);
    }

    /// Lets everything happen that is due.
    fn until(&mut self, end: Monotonic) {
        loop {
            let of_alarms = self.alarms.poll_deadline(self.zero.wall).map(|at| self.zero.monotonic_of(at));
            let due = [self.rules.poll_deadline(), of_alarms].into_iter().flatten().min();
            let Some(due) = due.filter(|due| *due <= end) else { return };
            let now = self.zero.at(due);
            self.zero = now;
            self.rules.handle_timeout(now);
            self.alarms.handle_timeout(now.wall);
            self.take(now);
        }
    }

    fn take(&mut self, now: Moment) {
        while let Some(transition) = self.rules.poll_output() {
            self.alarms.handle_transition(&transition, transition.at);
        }
        while let Some(output) = self.alarms.poll_output() {
            let Output::Append(draft) = output else { continue };
            if draft.kind != EventType::Alert {
                continue;
            }
            if let Ok(event) = serde_json::from_str::<AlertEvent>(draft.data.get()) {
                self.raised += usize::from(&*draft.name == "raised");
                self.events.push(event);
            }
        }
        self.zero = now;
    }
}
