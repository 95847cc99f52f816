//! What makes a heartbeat invalid, whatever the group is like. The sentences are Kafka's.

use base::ErrorCode;

use super::request::{ConsumerHeartbeat, Refusal};
use super::{LEAVING, LEAVING_STATIC, regex};
use crate::ConsumerConfig;

/// The first rule that the request breaks.
pub(crate) fn validate(
    request: &ConsumerHeartbeat,
    config: &ConsumerConfig,
) -> Result<(), Refusal> {
    let invalid = |what: &str| Err(Refusal::new(ErrorCode::InvalidRequest, what));
    let is_member = request.member_epoch > 0 || request.member_epoch == LEAVING;
    if (request.brings_id || is_member) && request.member_id.is_empty() {
        return invalid("MemberId can't be empty.");
    }
    if request.group.is_empty() {
        return invalid("GroupId can't be empty.");
    }
    let is_blank = |text: &Option<std::sync::Arc<str>>| text.as_deref() == Some("");
    if is_blank(&request.instance_id) {
        return invalid("InstanceId can't be empty.");
    }
    if is_blank(&request.rack_id) {
        return invalid("RackId can't be empty.");
    }
    match request.member_epoch {
        0 => validate_join(request)?,
        LEAVING_STATIC if request.instance_id.is_none() => {
            return invalid("InstanceId can't be null.");
        }
        epoch if epoch < LEAVING_STATIC => return invalid("MemberEpoch is invalid."),
        _ => {}
    }
    if let Some(asked) = &request.assignor
        && !config.assignors.iter().any(|known| known.name() == &**asked)
    {
        let known: Vec<&str> = config.assignors.iter().map(|a| a.name()).collect();
        let known = known.join(", ");
        let message =
            format!("ServerAssignor {asked} is not supported. Supported assignors: {known}.");
        return Err(Refusal::new(ErrorCode::UnsupportedAssignor, message));
    }
    if request.member_epoch >= 0
        && let Some(asked) = request.regex.as_deref().filter(|r| !r.is_empty())
    {
        regex::compile(asked).map_err(|why| {
            let message =
                format!("SubscribedTopicRegex `{asked}` is not a valid regular expression: {why}.");
            Refusal::new(ErrorCode::InvalidRegularExpression, message)
        })?;
    }
    Ok(())
}

fn validate_join(request: &ConsumerHeartbeat) -> Result<(), Refusal> {
    let invalid = |what: &str| Err(Refusal::new(ErrorCode::InvalidRequest, what));
    if request.rebalance_timeout_ms.is_none() {
        return invalid("RebalanceTimeoutMs must be provided in first request.");
    }
    if request.owned.as_ref().is_none_or(|owned| !owned.is_empty()) {
        return invalid("TopicPartitions must be empty when (re-)joining.");
    }
    if request.topics.is_none() && request.regex.is_none() {
        return invalid(
            "Either SubscribedTopicNames or SubscribedTopicRegex must be non-null when \
             (re-)joining.",
        );
    }
    Ok(())
}
