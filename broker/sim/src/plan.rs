//! What one seed stands for: the size of the cluster, its settings, how bad the network is and
//! which faults may happen. Drawn once, before anything runs.

use crate::rng::Rng;

/// A deliberately broken rule, to prove that the checks see it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Mutation {
    #[default]
    None,
    /// Leaders count one record too many for every follower.
    HighWatermark,
    /// The controller takes ISR changes without comparing the partition epoch.
    IsrWithoutCompareAndSet,
    /// acks=all is acknowledged on append.
    EarlyAck,
    /// Followers go on after a diverging epoch as if nothing had been.
    NoTruncation,
    /// Followers that begin anew at their leader's log start forget all producers.
    ForgottenProducers,
    /// A core's own assertion fails, which is a panic and no violation.
    Assertion,
}

impl Mutation {
    pub const ALL: [(&'static str, Mutation); 7] = [
        ("none", Mutation::None),
        ("high-watermark", Mutation::HighWatermark),
        ("isr-without-cas", Mutation::IsrWithoutCompareAndSet),
        ("early-ack", Mutation::EarlyAck),
        ("no-truncation", Mutation::NoTruncation),
        ("forgotten-producers", Mutation::ForgottenProducers),
        ("assertion", Mutation::Assertion),
    ];

    pub fn from_name(name: &str) -> Option<Mutation> {
        Mutation::ALL.iter().find(|(known, _)| *known == name).map(|&(_, mutation)| mutation)
    }

    pub fn name(self) -> &'static str {
        Mutation::ALL
            .iter()
            .find(|&&(_, mutation)| mutation == self)
            .map_or("none", |&(name, _)| name)
    }
}

#[derive(Clone, Debug)]
pub struct Options {
    pub seed: u64,
    pub mutation: Mutation,
    /// Print every event.
    pub trace: bool,
}

impl Options {
    pub fn seed(seed: u64) -> Options {
        Options { seed, mutation: Mutation::None, trace: false }
    }

    /// The command that runs this again.
    pub fn replay_command(&self) -> String {
        let mut command = format!("cargo run -p sim --release -- --seed {}", self.seed);
        if self.mutation != Mutation::None {
            command += &format!(" --mutation {}", self.mutation.name());
        }
        command + " --trace"
    }
}

#[derive(Clone, Debug)]
pub struct Plan {
    pub nodes: usize,
    /// The first ones are the quorum's voters.
    pub voters: usize,
    /// Of the topic `data`; `__consumer_offsets` has one more.
    pub data_partitions: usize,
    pub replication_factor: usize,
    pub min_isr: usize,
    pub lag_time_max_ms: i64,
    /// Faults happen until then; afterwards everything must heal.
    pub faults_until_ms: i64,
    pub heal_within_ms: i64,
    pub delay_max_ms: i64,
    pub slow_per_mille: i64,
    pub drop_per_mille: i64,
    pub fault_every_ms: i64,
    pub producers: usize,
    pub consumers: usize,
    pub members: usize,
    /// Producers rest for so long after each time of work of the same length; 0: never.
    pub quiet_ms: i64,
    /// How often somebody claims to be a broker; 0: never.
    pub impostor_every_ms: i64,
    /// `retention.bytes` of the data topic, -1 for none; with it, records are deleted by request.
    pub retention_bytes: i64,
    /// Consumers are sent to a replica near them (KIP-392).
    pub rack_aware_reads: bool,
}

impl Plan {
    pub fn draw(rng: &mut Rng) -> Plan {
        let nodes = *rng.pick(&[3, 3, 3, 4, 5]);
        let min_isr = *rng.pick(&[1, 2, 2, 2]);
        let mut plan = Plan {
            nodes,
            voters: if nodes == 5 && rng.chance(500) { 5 } else { 3 },
            data_partitions: rng.between(1, 2) as usize,
            replication_factor: 3,
            min_isr,
            lag_time_max_ms: *rng.pick(&[300, 800, 2_000]),
            faults_until_ms: 6_000,
            heal_within_ms: 25_000,
            delay_max_ms: *rng.pick(&[2, 5, 20]),
            slow_per_mille: *rng.pick(&[0, 5, 30]),
            drop_per_mille: *rng.pick(&[0, 0, 5, 30]),
            fault_every_ms: *rng.pick(&[250, 600, 1_500]),
            producers: rng.between(2, 3) as usize,
            consumers: 1,
            members: rng.between(0, 3) as usize,
            retention_bytes: *rng.pick(&[-1, -1, 4_000]),
            quiet_ms: 0,
            impostor_every_ms: *rng.pick(&[0, 400]),
            // Draws nothing: the other half of the seeds runs as without it.
            rack_aware_reads: rng.clone().chance(500),
        };
        // Longer than a follower may lag.
        plan.quiet_ms = *rng.pick(&[0, plan.lag_time_max_ms * 3 / 2]);
        plan
    }
}
