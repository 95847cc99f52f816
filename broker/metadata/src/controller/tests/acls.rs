//! Rules of access through the controller, into the image and its snapshot.

use authorizer::{Acl, AclFilter, Operation, PatternType, Permission, ResourceType};

use super::*;
use crate::level::BARNABAS_VERSION;

fn acl(name: &str, operation: Operation) -> Acl {
    Acl {
        resource_type: ResourceType::Topic,
        resource_name: name.into(),
        pattern_type: PatternType::Literal,
        principal: "User:alice".into(),
        host: "*".into(),
        operation,
        permission_type: Permission::Allow,
    }
}

fn named(name: &str) -> AclFilter {
    AclFilter { resource_name: Some(name.into()), ..AclFilter::default() }
}

type Refusal = (ErrorCode, String);

impl World {
    fn create_acls(&mut self, acls: Vec<Acl>) -> Result<Vec<Result<(), Refusal>>, Refusal> {
        match self.ask(ControllerRequest::CreateAcls(CreateAclsRequest { acls })) {
            ControllerResponse::CreateAcls(results) => {
                Ok(results.into_iter().map(|r| r.map_err(|e| (e.code, e.message))).collect())
            }
            ControllerResponse::Error(error) => Err((error.code, error.message)),
            other => panic!("{other:?}"),
        }
    }

    /// How many rules each filter deleted.
    fn delete_acls(&mut self, filters: Vec<AclFilter>) -> Vec<Result<usize, ErrorCode>> {
        match self.ask(ControllerRequest::DeleteAcls(DeleteAclsRequest { filters })) {
            ControllerResponse::DeleteAcls(results) => {
                results.into_iter().map(|r| r.map(|acls| acls.len()).map_err(|e| e.code)).collect()
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn rules_are_created_once_and_deleted_by_every_filter_that_means_them() {
    let mut world = World::new(1);
    let (read, write) = (acl("t", Operation::Read), acl("t", Operation::Write));
    let other = acl("u", Operation::Read);
    let asked = vec![read.clone(), read.clone(), write, other];
    assert_eq!(world.create_acls(asked), Ok(vec![Ok(()); 4]));
    assert_eq!(world.image.acls().len(), 3);
    let at = world.image.offset();
    assert_eq!(world.create_acls(vec![read.clone()]), Ok(vec![Ok(())]));
    assert_eq!(world.image.offset(), at, "nothing is written for what exists");
    let restored = Image::decode(&world.image.encode()).unwrap();
    assert_eq!(restored, world.image);
    assert_eq!(restored.written_level(), 2);

    let reads = AclFilter { operation: Some(Operation::Read), ..named("t") };
    let deleted = world.delete_acls(vec![named("nothing"), reads, named("t")]);
    assert_eq!(deleted, [Ok(0), Ok(1), Ok(2)]);
    assert!(!world.image.acls().contains(&read));
    assert_eq!(world.image.acls().len(), 1);
}

#[test]
fn a_wrong_rule_holds_back_no_other() {
    let mut world = World::new(1);
    let nobody = Acl { principal: "alice".into(), ..acl("t", Operation::Read) };
    let range = Acl { host: "10.0.0.0/33".into(), ..acl("t", Operation::Read) };
    let results = world.create_acls(vec![nobody, acl("t", Operation::Read), range]).unwrap();
    let codes: Vec<_> = results.iter().map(|r| r.as_ref().map_err(|e| e.0)).collect();
    let refused = Err(ErrorCode::InvalidRequest);
    assert_eq!(codes, [refused, Ok(&()), refused]);
    assert_eq!(world.image.acls().len(), 1);
}

#[test]
fn a_request_has_a_limit() {
    let mut world = World::new(1);
    let rules = |from: usize, count: usize| {
        (from..from + count).map(|n| acl(&format!("t-{n}"), Operation::Read)).collect::<Vec<_>>()
    };
    let refused = world.create_acls(rules(0, 10_001)).unwrap_err();
    assert_eq!(refused.0, ErrorCode::PolicyViolation);
    assert!(world.create_acls(rules(0, 10_000)).is_ok());
    assert!(world.create_acls(rules(10_000, 1)).is_ok());
    let all = AclFilter::default();
    let deleted = world.delete_acls(vec![named("t-7"), all.clone()]);
    assert_eq!(deleted, [Ok(1), Err(ErrorCode::InvalidRequest)]);
    assert_eq!(world.delete_acls(vec![all]), [Ok(10_000)]);
    assert!(world.image.acls().is_empty());
}

#[test]
fn there_are_rules_from_their_level_on() {
    let features = vec![("metadata.version".into(), 31), (BARNABAS_VERSION.into(), 1)];
    let settings =
        ControllerSettings { bootstrap_features: features, ..ControllerSettings::default() };
    let mut world = World::with_settings(settings);
    world.start(1);
    let refused = world.create_acls(vec![acl("t", Operation::Read)]).unwrap_err();
    assert_eq!(refused.0, ErrorCode::UnsupportedVersion);
    assert!(refused.1.contains("barnabas.version 2"), "{}", refused.1);
    let updates = vec![FeatureUpdate {
        name: BARNABAS_VERSION.into(),
        level: 2,
        allow_downgrade: false,
        upgrade_type: Some(1),
    }];
    world.ask(ControllerRequest::UpdateFeatures(UpdateFeaturesRequest {
        updates,
        validate_only: false,
    }));
    let range = Acl { host: "10.0.0.0/8".into(), ..acl("t", Operation::Read) };
    let results = world.create_acls(vec![acl("t", Operation::Read), range]).unwrap();
    assert_eq!(results[0], Ok(()));
    assert_eq!(results[1].as_ref().unwrap_err().0, ErrorCode::UnsupportedVersion);
}
