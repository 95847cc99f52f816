//! Which image brokers run, and whether it is older than the cluster's metadata allows.

use crd::{KafkaCluster, UpgradePolicy};

/// The image of a cluster's brokers: `spec.image`, else the operator's default image, with
/// `spec.version` for its tag where the user names one. Where the user names neither, a cluster
/// keeps what it is `running`, unless its policy is to follow the operator.
pub fn image(cluster: &KafkaCluster, default_image: &str, running: Option<&str>) -> String {
    if let Some(image) = &cluster.spec.image {
        return image.clone();
    }
    let Some(version) = &cluster.spec.version else {
        let keeps = cluster.spec.upgrade_policy == UpgradePolicy::Manual;
        return running.filter(|_| keeps).unwrap_or(default_image).to_owned();
    };
    let untagged = default_image.split('@').next().unwrap_or(default_image);
    let repository = match untagged[name_start(untagged)..].find(':') {
        Some(colon) => &untagged[..name_start(untagged) + colon],
        None => untagged,
    };
    format!("{repository}:{version}")
}

/// After the last slash: a port of the registry is no tag.
fn name_start(image: &str) -> usize {
    image.rfind('/').map_or(0, |slash| slash + 1)
}

/// The tag of an image; its digest where it has none.
pub fn version(image: &str) -> &str {
    let (name, digest) = image[name_start(image)..].split_once('@').unwrap_or((image, ""));
    let tag = name[name_start(name)..].split_once(':').map(|(_, tag)| tag);
    tag.unwrap_or(if digest.is_empty() { "latest" } else { digest })
}

/// Whether a version is older than another; `None` where one is no number of a release.
pub fn is_older(version: &str, than: &str) -> Option<bool> {
    Some(release(version)? < release(than)?)
}

/// Major, minor and patch. A release candidate counts as what it is to become.
fn release(version: &str) -> Option<[u64; 3]> {
    let numbers = version.strip_prefix('v').unwrap_or(version);
    let numbers = numbers.split(['-', '+']).next()?;
    let mut parts = numbers.split('.').map(|part| part.parse::<u64>().ok());
    let release = [parts.next()??, parts.next()??, parts.next()??];
    parts.next().is_none().then_some(release)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_from_images_and_compared() {
        assert_eq!(version("host:5000/barnabas/broker:1.2.3"), "1.2.3");
        assert_eq!(version("host:5000/barnabas/broker"), "latest");
        assert_eq!(version("broker:1.2.3@sha256:ab"), "1.2.3");
        assert_eq!(version("host/broker@sha256:ab"), "sha256:ab");
        assert_eq!(is_older("0.9.1", "0.10.0"), Some(true));
        assert_eq!(is_older("v1.0.0-rc.1", "1.0.0"), Some(false));
        assert_eq!(is_older("next", "1.0.0"), None);
        assert_eq!(is_older("1.0", "1.0.0"), None);
    }
}
