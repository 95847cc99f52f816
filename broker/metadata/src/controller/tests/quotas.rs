//! AlterClientQuotas: what is refused, with Kafka's words, and what is written.

use super::*;
use crate::quota::{QuotaEntity, QuotaName};

type Altered = Result<(), (ErrorCode, String)>;

impl World {
    fn alter(&mut self, entries: Vec<AlterQuotas>, validate_only: bool) -> Vec<Altered> {
        let request = AlterClientQuotasRequest { entries, validate_only };
        match self.ask(ControllerRequest::AlterClientQuotas(request)) {
            ControllerResponse::AlterClientQuotas(results) => {
                results.into_iter().map(|r| r.result.map_err(|e| (e.code, e.message))).collect()
            }
            ControllerResponse::Error(error) => vec![Err((error.code, error.message))],
            other => panic!("{other:?}"),
        }
    }
}

fn entry(entity: &[(&str, Option<&str>)], ops: &[(&str, Option<f64>)]) -> AlterQuotas {
    let part = |(kind, name): &(&str, Option<&str>)| ((*kind).into(), name.map(Into::into));
    let op = |(key, value): &(&str, Option<f64>)| QuotaOp { key: (*key).into(), value: *value };
    AlterQuotas { entity: entity.iter().map(part).collect(), ops: ops.iter().map(op).collect() }
}

const ALICE: &[(&str, Option<&str>)] = &[("user", Some("alice"))];

fn alice() -> QuotaEntity {
    let user = Some(QuotaName::Named("alice".into()));
    QuotaEntity { user, ..QuotaEntity::default() }
}

#[test]
fn quotas_are_set_changed_and_removed() {
    let mut world = World::new(1);
    let rates = |image: &Image| image.quota(&alice()).map(|values| (**values).clone());
    let set = [("producer_byte_rate", Some(1024.0)), ("request_percentage", Some(12.5))];
    assert_eq!(world.alter(vec![entry(ALICE, &set)], true), [Ok(())]);
    assert_eq!(rates(&world.image), None, "only validated");
    assert_eq!(world.alter(vec![entry(ALICE, &set)], false), [Ok(())]);
    assert_eq!(world.image.written_level(), 2);
    let expected = [("producer_byte_rate".into(), 1024.0), ("request_percentage".into(), 12.5)];
    assert_eq!(rates(&world.image), Some(expected.into()));
    let offset = world.image.offset();
    assert_eq!(world.alter(vec![entry(ALICE, &set)], false), [Ok(())]);
    assert_eq!(world.image.offset(), offset, "nothing changed");
    let removed = [("producer_byte_rate", None), ("request_percentage", None)];
    assert_eq!(world.alter(vec![entry(ALICE, &removed)], false), [Ok(())]);
    assert!(!world.image.has_quotas());
}

#[test]
fn what_makes_no_sense_is_refused_and_nothing_of_its_entry_is_done() {
    let rate = ("producer_byte_rate", Some(1.0));
    let client: &[(&str, Option<&str>)] = &[("client-id", None)];
    let ip: &[(&str, Option<&str>)] = &[("ip", Some("10.0.0.1"))];
    let cases = [
        (entry(&[], &[rate]), "Invalid empty client quota entity"),
        (entry(&[("team", None)], &[rate]), "Unhandled client quota entity type: team"),
        (entry(&[("user", Some(""))], &[rate]), "Empty user not supported"),
        (
            entry(&[("user", None), ("user", Some("a"))], &[rate]),
            "Invalid client quota entity, duplicate entity entry user",
        ),
        (
            entry(&[("user", None), ("ip", None)], &[rate]),
            "Invalid quota entity combination, IP entity should not be combined with User or \
             ClientId",
        ),
        (
            entry(&[("ip", Some("nowhere"))], &[("connection_creation_rate", Some(1.0))]),
            "nowhere is not a valid IP or resolvable host.",
        ),
        (entry(ip, &[rate]), "Invalid configuration key producer_byte_rate"),
        (
            entry(client, &[("connection_creation_rate", Some(1.0))]),
            "Invalid configuration key connection_creation_rate",
        ),
        (entry(client, &[rate, rate]), "Duplicate quota key producer_byte_rate not updating quota"),
        (
            entry(client, &[rate, ("consumer_byte_rate", Some(1.5))]),
            "consumer_byte_rate cannot be a fractional value.",
        ),
        (
            entry(client, &[("producer_byte_rate", Some(0.0))]),
            "Quota producer_byte_rate must be greater than 0",
        ),
        (
            entry(client, &[("request_percentage", Some(f64::NAN))]),
            "Quota request_percentage must be a finite number",
        ),
        (
            entry(ip, &[("connection_creation_rate", Some(3e9))]),
            "Proposed value for connection_creation_rate is too large for an INT.",
        ),
    ];
    let mut world = World::new(1);
    for (entry, why) in cases {
        let refused = world.alter(vec![entry], false);
        assert_eq!(refused, [Err((ErrorCode::InvalidRequest, why.to_owned()))]);
        assert!(!world.image.has_quotas(), "{why}");
    }
    let twice = vec![entry(ALICE, &[rate]), entry(ALICE, &[rate])];
    let altered = world.alter(twice, false);
    assert_eq!(altered[0], Ok(()));
    let why = "Ignoring duplicate entity".to_owned();
    assert_eq!(altered[1], Err((ErrorCode::InvalidRequest, why)));
}

#[test]
fn no_quota_is_written_that_a_broker_of_the_cluster_cannot_read() {
    let features = vec![("barnabas.version".into(), 1)];
    let settings =
        ControllerSettings { bootstrap_features: features, ..ControllerSettings::default() };
    let mut world = World::with_settings(settings);
    world.start(1);
    let refused = world.alter(vec![entry(ALICE, &[("producer_byte_rate", Some(1.0))])], false);
    let why = "Quotas need barnabas.version 2, and it is 1: upgrade every broker, then raise it \
               with kafka-features.sh.";
    let why = why.to_owned();
    assert_eq!(refused, [Err((ErrorCode::UnsupportedVersion, why))]);
}
