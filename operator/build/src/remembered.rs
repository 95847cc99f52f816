//! What a broker's file in the ConfigMap says of its place: it outlives every pod and the operator.

use std::collections::BTreeMap;

use crd::KafkaCluster;
use k8s_openapi::api::core::v1::ConfigMap;

use crate::names::{Names, names, ordinal_of_pod};

pub(crate) const ADVERTISED: &str = "advertised.listeners";
pub(crate) const RACK: &str = "broker.rack";

/// What a broker's file says of its place.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Remembered {
    pub rack: Option<String>,
    /// Host and port by the listener's name in Kafka; the pod's own name is nothing remembered.
    pub addresses: BTreeMap<String, (String, i32)>,
}

impl Remembered {
    /// Of every broker that has a file.
    pub(crate) fn all(
        cluster: &KafkaCluster,
        config: Option<&ConfigMap>,
    ) -> BTreeMap<i32, Remembered> {
        let names = names(cluster);
        let files = config.into_iter().flat_map(|config| config.data.iter().flatten());
        let read = |(file, text): (&String, &String)| {
            let id = broker_of(&names, file)?;
            Some((id, Remembered::parse(text, &names.broker_host(id))))
        };
        files.filter_map(read).collect()
    }

    fn parse(text: &str, own_host: &str) -> Remembered {
        let mut all = Remembered::default();
        for (key, value) in text.lines().filter_map(|line| line.split_once('=')) {
            match key {
                RACK => all.rack = Some(value.to_owned()).filter(|rack| !rack.is_empty()),
                ADVERTISED => {
                    let told = endpoints(value).into_iter().filter(|(_, host, _)| host != own_host);
                    all.addresses = told.map(|(name, host, port)| (name, (host, port))).collect();
                }
                _ => {}
            }
        }
        all
    }
}

/// The broker that a file in the ConfigMap is of.
pub(crate) fn broker_of(names: &Names<'_>, file: &str) -> Option<i32> {
    ordinal_of_pod(names.cluster, file.strip_suffix(".properties")?)
}

/// `NAME://host:port` of a list; what cannot be read is left out.
pub(crate) fn endpoints(list: &str) -> Vec<(String, String, i32)> {
    let read = |item: &str| {
        let (name, address) = item.split_once("://")?;
        let (host, port) = address.rsplit_once(':')?;
        let host = host.trim_start_matches('[').trim_end_matches(']');
        Some((name.to_owned(), host.to_owned(), port.parse().ok()?))
    };
    list.split(',').filter_map(read).collect()
}
