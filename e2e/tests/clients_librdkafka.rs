//! librdkafka against three brokers: the newest through its Python binding, and the one that the
//! distribution's kcat was built with.

use anyhow::{Result, ensure};
use e2e::clients::kcat;
use e2e::{Cluster, ClusterConfig, clients, with_cluster};

#[test]
fn python_binding() {
    with_cluster(ClusterConfig::new(3), |cluster| {
        clients::python_scenarios(cluster, "with_librdkafka")
    });
}

#[test]
fn kcat_lists_produces_and_consumes() {
    with_cluster(ClusterConfig::new(3), |cluster| kcat_everything(cluster));
}

fn kcat_everything(cluster: &Cluster) -> Result<()> {
    let bootstrap = cluster.bootstrap();
    cluster.admin()?.create_topic("kcat", 2, 3, &[])?;
    let listed = kcat(&["-b", &bootstrap, "-L"], "")?;
    ensure!(listed.contains("3 brokers:"), "{listed}");
    ensure!(listed.contains("topic \"kcat\" with 2 partitions:"), "{listed}");
    for codec in ["none", "gzip", "snappy", "lz4", "zstd"] {
        let produce = ["-P", "-b", &bootstrap, "-t", "kcat", "-p", "1", "-z", codec, "-K", ":"];
        kcat(&produce, &format!("{codec}-key:{codec}-value\n"))?;
    }
    let consume = ["-C", "-b", &bootstrap, "-t", "kcat", "-p", "1", "-e", "-q", "-f", "%o %k %s\n"];
    let wanted = "0 none-key none-value\n1 gzip-key gzip-value\n2 snappy-key snappy-value\n\
                  3 lz4-key lz4-value\n4 zstd-key zstd-value\n";
    assert_eq!(kcat(&consume, "")?, wanted);
    let query = kcat(&["-Q", "-b", &bootstrap, "-t", "kcat:1:-1"], "")?;
    ensure!(query.contains("offset 5"), "{query}");
    // A balanced consumer: a group of one.
    let args = ["-b", &bootstrap, "-G", "kcat-group", "-c", "5", "-q", "-f", "%s\n"];
    let tail = ["-X", "auto.offset.reset=earliest", "kcat"];
    let read = kcat(&[&args[..], &tail[..]].concat(), "")?;
    assert_eq!(read.lines().count(), 5, "{read}");
    Ok(())
}
