//! What a broker speaks, from its ApiVersions response.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use wire::ApiKey;
use wire::messages::ApiVersionsResponse;

/// The version ranges a broker advertised, for the APIs this client knows.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct BrokerVersions(BTreeMap<ApiKey, RangeInclusive<i16>>);

impl BrokerVersions {
    pub fn from_response(response: &ApiVersionsResponse) -> BrokerVersions {
        let known = response.api_keys.iter().filter_map(|api| {
            Some((ApiKey::from_i16(api.api_key)?, api.min_version..=api.max_version))
        });
        BrokerVersions(known.collect())
    }

    /// The advertised range of an API.
    pub fn get(&self, key: ApiKey) -> Option<&RangeInclusive<i16>> {
        self.0.get(&key)
    }

    /// The newest version that both sides speak.
    pub fn newest_common(&self, key: ApiKey) -> Option<i16> {
        let theirs = self.0.get(&key)?;
        let ours = key.versions();
        let newest = *theirs.end().min(ours.end());
        (newest >= *theirs.start() && newest >= *ours.start()).then_some(newest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn newest_common_is_in_both_ranges() {
        let fetch = *ApiKey::Fetch.versions().end();
        let versions = BrokerVersions(BTreeMap::from([
            (ApiKey::Fetch, 4..=fetch + 3),
            (ApiKey::Produce, 0..=7),
            (ApiKey::Metadata, 100..=101),
            (ApiKey::CreateTopics, 0..=1),
        ]));
        assert_eq!(versions.newest_common(ApiKey::Fetch), Some(fetch));
        assert_eq!(versions.newest_common(ApiKey::Produce), Some(7));
        assert_eq!(versions.newest_common(ApiKey::Metadata), None, "only newer ones");
        assert_eq!(versions.newest_common(ApiKey::CreateTopics), None, "only older ones");
        assert_eq!(versions.newest_common(ApiKey::Heartbeat), None, "not advertised");
    }
}
