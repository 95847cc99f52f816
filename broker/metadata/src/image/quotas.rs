//! The quotas of an image: how they change, and which one counts for a client, by Kafka's order.

use std::sync::Arc;

use super::Image;
use crate::quota::{CONNECTION_CREATION_RATE, QuotaEntity, QuotaLimit, QuotaName, QuotaValues};
use crate::record::ClientQuotaRecord;

impl Image {
    pub(crate) fn set_quota(&mut self, record: &ClientQuotaRecord) {
        let mut values = self.quotas.get(&record.entity).cloned().unwrap_or_default();
        let edited = Arc::make_mut(&mut values);
        match record.value {
            Some(value) => edited.insert(record.key.clone(), value),
            None => edited.remove(&record.key),
        };
        if values.is_empty() {
            self.quotas.remove(&record.entity);
        } else {
            self.quotas.insert(record.entity.clone(), values);
        }
    }

    pub fn has_quotas(&self) -> bool {
        !self.quotas.is_empty()
    }

    /// All quotas, sorted by entity.
    pub fn quotas(&self) -> impl Iterator<Item = (&QuotaEntity, &QuotaValues)> + '_ {
        self.quotas.iter()
    }

    pub fn quota(&self, entity: &QuotaEntity) -> Option<&QuotaValues> {
        self.quotas.get(entity)
    }

    /// The limit of this key that counts for a client, in the order of Kafka's
    /// `DefaultQuotaCallback`: what names both comes before what names the user alone, the user
    /// before the default user, and either before the client id alone.
    pub fn client_quota(
        &self,
        key: &str,
        user: &Arc<str>,
        client_id: &Arc<str>,
    ) -> Option<QuotaLimit> {
        if self.quotas.is_empty() {
            return None;
        }
        let named = |name: &Arc<str>| Some(QuotaName::Named(name.clone()));
        for user in [named(user), Some(QuotaName::Default), None] {
            for client_id in [named(client_id), Some(QuotaName::Default), None] {
                let (by_user, by_client_id) = (user.is_some(), client_id.is_some());
                let entity = QuotaEntity { user: user.clone(), client_id, ip: None };
                if let Some(&limit) = self.quotas.get(&entity).and_then(|values| values.get(key)) {
                    return Some(QuotaLimit { limit, by_user, by_client_id });
                }
            }
        }
        None
    }

    /// Connections per second from this address.
    pub fn connection_quota(&self, ip: &str) -> Option<f64> {
        if self.quotas.is_empty() {
            return None;
        }
        [QuotaName::Named(ip.into()), QuotaName::Default].into_iter().find_map(|ip| {
            let entity = QuotaEntity { ip: Some(ip), ..QuotaEntity::default() };
            self.quotas.get(&entity)?.get(CONNECTION_CREATION_RATE).copied()
        })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::quota::{CONSUMER_BYTE_RATE, PRODUCER_BYTE_RATE};

    fn part(text: &str) -> Option<QuotaName> {
        match text {
            "" => None,
            "*" => Some(QuotaName::Default),
            name => Some(QuotaName::Named(name.into())),
        }
    }

    #[test]
    fn the_most_exact_quota_counts() {
        // Kafka's order, the last first: each one that is added counts instead of those before.
        let order = [
            ("", "*"),
            ("", "c"),
            ("*", ""),
            ("*", "*"),
            ("*", "c"),
            ("u", ""),
            ("u", "*"),
            ("u", "c"),
        ];
        let mut image = Image::new("");
        let limit = |image: &Image, user: &str, client: &str| {
            image.client_quota(PRODUCER_BYTE_RATE, &user.into(), &client.into())
        };
        for (n, (user, client)) in order.into_iter().enumerate() {
            let entity = QuotaEntity { user: part(user), client_id: part(client), ip: part("") };
            let record = |key: &str, value| ClientQuotaRecord {
                entity: entity.clone(),
                key: key.into(),
                value,
            };
            image.set_quota(&record(PRODUCER_BYTE_RATE, Some(n as f64 + 1.0)));
            image.set_quota(&record(CONSUMER_BYTE_RATE, Some(99.0)));
            image.set_quota(&record(CONSUMER_BYTE_RATE, None));
            let found = limit(&image, "u", "c").unwrap();
            let expected = QuotaLimit {
                limit: n as f64 + 1.0,
                by_user: !user.is_empty(),
                by_client_id: !client.is_empty(),
            };
            assert_eq!(found, expected, "{user}/{client}");
        }
        assert_eq!(limit(&image, "u", "x").unwrap().limit, 7.0);
        assert_eq!(limit(&image, "x", "c").unwrap().limit, 5.0);
        assert_eq!(limit(&image, "x", "x").unwrap().limit, 4.0);
        assert_eq!(image.client_quota(CONSUMER_BYTE_RATE, &"u".into(), &"c".into()), None);
        assert_eq!(image.quotas().count(), 8);
        assert_eq!(Image::decode(&image.encode()).unwrap(), image, "a snapshot has them");
    }

    #[test]
    fn addresses_have_their_own_or_the_default() {
        let mut image = Image::new("");
        for (ip, value) in [("*", 5.0), ("10.0.0.1", 7.0)] {
            let entity = QuotaEntity { ip: part(ip), ..QuotaEntity::default() };
            let key = CONNECTION_CREATION_RATE.into();
            image.set_quota(&ClientQuotaRecord { entity, key, value: Some(value) });
        }
        assert_eq!(image.connection_quota("10.0.0.1"), Some(7.0));
        assert_eq!(image.connection_quota("10.0.0.2"), Some(5.0));
    }
}
