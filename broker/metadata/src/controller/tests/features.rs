//! Feature levels: which updates are accepted, and what the level allows to write.

use super::*;
use crate::level::{BARNABAS_VERSION, LEVEL_MAX};
use crate::record::BrokerLevelRecord;

const UP: i8 = 1;
const SAFE: i8 = 2;

/// A cluster of a release that knew no levels, with brokers of this release.
fn old_cluster(count: i32) -> World {
    let features = vec![("metadata.version".into(), 30)];
    let settings =
        ControllerSettings { bootstrap_features: features, ..ControllerSettings::default() };
    let mut world = World::with_settings(settings);
    (1..=count).for_each(|id| world.start(id));
    world
}

impl World {
    fn update_all(&mut self, updates: &[(&str, i16, i8)], validate_only: bool) -> Vec<Updated> {
        let update = |(name, level, code): &(&str, i16, i8)| FeatureUpdate {
            name: (*name).into(),
            level: *level,
            allow_downgrade: false,
            upgrade_type: Some(*code),
        };
        let updates = updates.iter().map(update).collect();
        let request = UpdateFeaturesRequest { updates, validate_only };
        match self.ask(ControllerRequest::UpdateFeatures(request)) {
            ControllerResponse::UpdateFeatures(results) => {
                results.into_iter().map(|r| r.result.map_err(|e| (e.code, e.message))).collect()
            }
            other => panic!("{other:?}"),
        }
    }

    fn update(&mut self, name: &str, level: i16, code: i8) -> Updated {
        self.update_all(&[(name, level, code)], false).remove(0)
    }
}

type Updated = Result<(), (ErrorCode, String)>;

fn refused(name: &str, level: i16, why: &str) -> Updated {
    let message = format!("Invalid update version {level} for feature {name}. {why}");
    Err((ErrorCode::InvalidUpdateVersion, message))
}

#[test]
fn a_new_cluster_starts_at_the_newest_level_and_notes_what_brokers_support() {
    let world = World::new(2);
    assert_eq!(world.image.feature_level("metadata.version"), 33);
    assert_eq!(world.image.level(), LEVEL_MAX);
    assert_eq!(world.image.broker(b(2)).unwrap().supports, Some(LEVEL_MAX));
    assert_eq!(world.image.written_level(), 1);
    let restored = Image::decode(&world.image.encode()).unwrap();
    assert_eq!(restored, world.image);
}

#[test]
fn updates_are_judged_in_kafkas_order() {
    let mut world = World::new(1);
    let most = format!("Controller 1 only supports versions 0-{LEVEL_MAX}");
    let cases = [
        ("metadata.version", 33, UP, Ok(())),
        (
            BARNABAS_VERSION,
            1,
            9,
            refused(BARNABAS_VERSION, 1, "The controller does not support the given upgrade type."),
        ),
        (
            BARNABAS_VERSION,
            -1,
            UP,
            refused(BARNABAS_VERSION, -1, "A feature version cannot be less than 0."),
        ),
        (
            "teleport.version",
            1,
            UP,
            refused("teleport.version", 1, "Controller 1 does not support this feature."),
        ),
        (BARNABAS_VERSION, 99, UP, refused(BARNABAS_VERSION, 99, &most)),
    ];
    for (name, level, code, expected) in cases {
        assert_eq!(world.update(name, level, code), expected, "{name} {level} {code}");
    }
}

#[test]
fn the_level_rises_once_every_registered_broker_supports_it() {
    let mut world = old_cluster(2);
    assert_eq!(world.image.level(), 0);
    let mut old = world.registration(3);
    old.supports = 0;
    world.register(old).unwrap();
    let why = "Broker 3 only supports versions 0-0";
    assert_eq!(world.update(BARNABAS_VERSION, 1, UP), refused(BARNABAS_VERSION, 1, why));

    let gone = UnregisterBrokerRequest { broker_id: b(3) };
    world.ask(ControllerRequest::UnregisterBroker(gone));
    let upgraded = world.registration(3);
    world.register(upgraded).unwrap();
    assert_eq!(world.update_all(&[(BARNABAS_VERSION, 1, UP)], true), [Ok(())]);
    assert_eq!(world.image.level(), 0, "it was only validated");
    assert_eq!(world.update(BARNABAS_VERSION, 1, UP), Ok(()));
    assert_eq!(world.image.level(), 1);

    let mut old = world.registration(4);
    old.supports = 0;
    assert_eq!(world.register(old), Err(ErrorCode::UnsupportedVersion));
}

#[test]
fn a_new_controller_hears_by_heartbeats_what_brokers_support() {
    let mut world = old_cluster(2);
    let settings = world.controller.settings.clone();
    let (controller, records) = Controller::activate(settings, b(2), 2, &world.image, world.now);
    world.controller = controller;
    world.commit(&records);
    world.beat(2);
    let why = "Broker 1 is offline, and what it supports is not known: start it, or unregister it.";
    assert_eq!(world.update(BARNABAS_VERSION, 1, UP), refused(BARNABAS_VERSION, 1, why));
    world.beat(1);
    assert_eq!(world.update(BARNABAS_VERSION, 1, UP), Ok(()));
}

#[test]
fn a_downgrade_is_refused_once_a_record_of_the_level_is_written() {
    let mut world = old_cluster(1);
    assert_eq!(world.update(BARNABAS_VERSION, 1, UP), Ok(()));
    let why = "Can't downgrade the version of this feature without setting the upgrade type to \
               either safe or unsafe downgrade.";
    assert_eq!(world.update(BARNABAS_VERSION, 0, UP), refused(BARNABAS_VERSION, 0, why));
    assert_eq!(world.update(BARNABAS_VERSION, 0, SAFE), Ok(()), "nothing of it was written");
    let why = "Can't downgrade to a newer version.";
    assert_eq!(world.update(BARNABAS_VERSION, 1, SAFE), refused(BARNABAS_VERSION, 1, why));

    assert_eq!(world.update(BARNABAS_VERSION, 1, UP), Ok(()));
    let again = world.registration(2);
    world.register(again).unwrap();
    let why = "The metadata has records of version 1, which a broker of version 0 cannot read.";
    for code in [SAFE, 3] {
        assert_eq!(world.update(BARNABAS_VERSION, 0, code), refused(BARNABAS_VERSION, 0, why));
    }
}

#[test]
fn one_wrong_update_of_several_holds_all_back() {
    let mut world = old_cluster(1);
    let updates = [(BARNABAS_VERSION, 1, UP), ("teleport.version", 1, UP)];
    let results = world.update_all(&updates, false);
    assert_eq!(results[0].as_ref().map_err(|e| e.0), Err(ErrorCode::FeatureUpdateFailed));
    assert_eq!(results[1].as_ref().map_err(|e| e.0), Err(ErrorCode::InvalidUpdateVersion));
    assert_eq!(world.image.level(), 0);
}

#[test]
fn a_kind_above_the_level_is_rejected_by_every_image() {
    let mut world = old_cluster(1);
    let (broker_id, broker_epoch) = (b(1), world.epoch(1));
    let record =
        MetadataRecord::BrokerLevel(BrokerLevelRecord { broker_id, broker_epoch, supports: 1 });
    let before = world.image.clone();
    assert!(world.image.apply(before.offset() + 1, &[record]).is_err());
    assert_eq!(world.image, before);
}
