//! Rules of access: what is created and deleted, judged as Kafka's `AclControlManager` judges it.

use std::collections::BTreeSet;

use authorizer::{Acl, AclFilter, AclId};
use base::ErrorCode;

use super::draft::Draft;
use super::failure::error;
use crate::entropy::Entropy;
use crate::level::ACL_LEVEL;
use crate::record::{AccessControlEntryRecord, MetadataRecord, RemoveAccessControlEntryRecord};
use crate::request::{ControllerError, CreateAclsRequest, DeleteAclsRequest};

const WHAT: &str = "Rules of access";
/// Rules that one request may create, or tell of as deleted.
const ACLS_MAX: usize = 10_000;
/// 4.4-IV1: the first `metadata.version` with ranges of hosts.
const RANGES_LEVEL: i16 = 32;

impl Draft<'_> {
    /// Each rule by itself: a rule that exists already counts as created.
    pub(super) fn create_acls(
        &mut self,
        request: CreateAclsRequest,
        entropy: &mut Entropy,
    ) -> Result<Vec<Result<(), ControllerError>>, ControllerError> {
        self.needs_level(ACL_LEVEL, WHAT)?;
        if request.acls.len() > ACLS_MAX {
            let why = "Unable to perform excessively large batch operation.";
            return error(ErrorCode::PolicyViolation, why);
        }
        let acls = request.acls.into_iter();
        Ok(acls.map(|acl| self.create_acl(acl, entropy)).collect())
    }

    fn create_acl(&mut self, acl: Acl, entropy: &mut Entropy) -> Result<(), ControllerError> {
        if acl.has_range() && self.image.feature_level("metadata.version") < RANGES_LEVEL {
            let why = "CIDR-based ACL host patterns require metadata version 4.4-IV1 or higher.";
            return error(ErrorCode::UnsupportedVersion, why);
        }
        if let Err(wrong) = acl.validate() {
            return error(ErrorCode::InvalidRequest, wrong.to_string());
        }
        if !self.image.acls.contains(&acl) {
            let id = self.new_acl_id(entropy);
            let record = AccessControlEntryRecord::of(id, acl);
            self.push(MetadataRecord::AccessControlEntry(record));
        }
        Ok(())
    }

    fn new_acl_id(&self, entropy: &mut Entropy) -> AclId {
        loop {
            let id = entropy.next_topic_id();
            if !self.image.acls.contains_id(id) {
                return id;
            }
        }
    }

    /// A rule that several filters mean is told by each of them, and removed once.
    pub(super) fn delete_acls(
        &mut self,
        request: DeleteAclsRequest,
    ) -> Result<Vec<Result<Vec<Acl>, ControllerError>>, ControllerError> {
        self.needs_level(ACL_LEVEL, WHAT)?;
        let (mut results, mut removed, mut told) = (Vec::new(), BTreeSet::new(), 0);
        for filter in &request.filters {
            let result = self.meant(filter, ACLS_MAX - told);
            results.push(result.map(|meant| {
                told += meant.len();
                removed.extend(meant.iter().map(|(id, _)| *id));
                meant.into_iter().map(|(_, acl)| acl).collect()
            }));
        }
        for id in removed {
            let record = RemoveAccessControlEntryRecord { id };
            self.push(MetadataRecord::RemoveAccessControlEntry(record));
        }
        Ok(results)
    }

    /// The rules that a filter means: all of them, or an error where they are too many.
    fn meant(
        &self,
        filter: &AclFilter,
        count_max: usize,
    ) -> Result<Vec<(AclId, Acl)>, ControllerError> {
        let matching = self.image.acls.matching(filter).take(count_max + 1);
        let meant: Vec<(AclId, Acl)> = matching.map(|(id, acl)| (id, (**acl).clone())).collect();
        if meant.len() > count_max {
            let why =
                format!("Cannot remove more than {ACLS_MAX} acls in a single delete operation.");
            return error(ErrorCode::InvalidRequest, why);
        }
        Ok(meant)
    }
}
