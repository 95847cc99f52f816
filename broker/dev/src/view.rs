//! What `broker dev` tells its user: the start, the copy-paste lines, the state while it runs.

use std::fmt::Write as _;
use std::io::{IsTerminal, Write, stdout};

use super::plan::ClusterPlan;
use super::process::ProcessState;

/// One broker at one moment.
#[derive(Clone, Debug, PartialEq)]
pub struct BrokerView {
    pub id: i32,
    pub process: ProcessState,
    /// Answer of `/readyz`: `Ok` when ready, else what is missing.
    pub ready: Result<(), String>,
    pub leaders: usize,
    pub replicas: usize,
}

/// The cluster at one moment.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ClusterView {
    pub brokers: Vec<BrokerView>,
    pub controller: Option<i32>,
    pub topics: usize,
    pub partitions: usize,
    pub under_replicated: usize,
    pub offline: usize,
}

/// The lines that a user copies to produce and to consume.
pub fn first_steps(plan: &ClusterPlan) -> String {
    let topic = plan.topics.first().map_or("messages", |t| t.topic_name());
    let server = &plan.bootstrap();
    let first = plan.brokers.first().map_or("", |b| b.address.as_str());
    format!(
        "bootstrap address: {server}\n\n\
         produce:  echo hello | kcat -b {first} -P -t {topic}\n\
         consume:  kcat -b {first} -C -t {topic} -o beginning -e\n\
         or with Kafka's own tools:\n  \
         kafka-console-producer.sh --bootstrap-server {first} --topic {topic}\n  \
         kafka-console-consumer.sh --bootstrap-server {first} --topic {topic} --from-beginning\n"
    )
}

/// One line per broker and one for the cluster.
pub fn render(view: &ClusterView) -> String {
    let mut text = String::new();
    for broker in &view.brokers {
        let state = match (&broker.process, &broker.ready) {
            (ProcessState::Restarting { reason }, _) => format!("{reason}; starting again"),
            (ProcessState::Ended { reason }, _) => reason.clone(),
            (ProcessState::Running { pid }, Ok(())) => format!("ready (pid {pid})"),
            (ProcessState::Running { pid }, Err(missing)) => {
                format!("not ready (pid {pid}): {missing}")
            }
        };
        let controller = if view.controller == Some(broker.id) { ", controller" } else { "" };
        // Writing to a String cannot fail.
        let _ = writeln!(
            text,
            "broker {}: {state}{controller}, leads {} of {} replicas",
            broker.id, broker.leaders, broker.replicas
        );
    }
    let _ = writeln!(
        text,
        "{} topics, {} partitions, {} under-replicated, {} without leader",
        view.topics, view.partitions, view.under_replicated, view.offline
    );
    text
}

/// Shows views on standard output: in place on a terminal, elsewhere only when something changed.
pub struct Screen {
    in_place: bool,
    lines_shown: usize,
    last: Option<ClusterView>,
}

impl Screen {
    pub fn new() -> Screen {
        Screen { in_place: stdout().is_terminal(), lines_shown: 0, last: None }
    }

    pub fn show(&mut self, view: ClusterView) {
        if self.last.as_ref() == Some(&view) {
            return;
        }
        let text = render(&view);
        let mut out = stdout().lock();
        // As in `tell`, it may be that nobody reads.
        if self.in_place && self.lines_shown > 0 {
            let _ = write!(out, "\x1b[{}A\x1b[J", self.lines_shown);
        }
        let _ = write!(out, "{text}");
        let _ = out.flush();
        self.lines_shown = text.lines().count();
        self.last = Some(view);
    }

    /// Prints a line that stays; the next view appears below it.
    pub fn say(&mut self, line: &str) {
        tell(line);
        self.lines_shown = 0;
    }
}

/// Prints a line, if anybody still reads: a closed terminal is no reason to stop the cluster, nor
/// one to stop it otherwise than in order.
pub fn tell(line: &str) {
    let _ = writeln!(stdout().lock(), "{line}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_view_says_what_is_missing() {
        let broker =
            |id, process, ready| BrokerView { id, process, ready, leaders: 2, replicas: 6 };
        let running = ProcessState::Running { pid: 7 };
        let died = ProcessState::Restarting { reason: "killed by signal 9".into() };
        let view = ClusterView {
            brokers: vec![
                broker(0, running.clone(), Ok(())),
                broker(1, running, Err("2 replicas are not in sync".into())),
                broker(2, died, Err(String::new())),
            ],
            controller: Some(0),
            topics: 2,
            partitions: 9,
            under_replicated: 4,
            offline: 0,
        };
        assert_eq!(
            render(&view),
            "broker 0: ready (pid 7), controller, leads 2 of 6 replicas\n\
             broker 1: not ready (pid 7): 2 replicas are not in sync, leads 2 of 6 replicas\n\
             broker 2: killed by signal 9; starting again, leads 2 of 6 replicas\n\
             2 topics, 9 partitions, 4 under-replicated, 0 without leader\n"
        );
    }
}
