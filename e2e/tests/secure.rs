//! TLS and SASL with real clients: the official tools, librdkafka, kafka-python and franz-go, with
//! right and wrong passwords and certificates, and while certificates are renewed.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use e2e::clients::{Said, kcat, run, secure_clients, tool, tool_ok};
use e2e::{Cluster, ClusterConfig, ports, wait, with_cluster};
use transport::testing::{Authority, expired};

const TOPICS: &str = "org.apache.kafka.tools.TopicCommand";
const CONFIGS: &str = "org.apache.kafka.tools.ConfigCommand";
const LIMIT: Duration = Duration::from_secs(90);
const MECHANISMS: [&str; 3] = ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"];
const TOPIC: &str = "secured";
const LOGIN: &str = "org.apache.kafka.common.security";

/// The files of a test.
struct Files {
    dir: tempfile::TempDir,
    authority: Authority,
}

impl Files {
    fn new() -> Result<Files> {
        let files = Files { dir: tempfile::tempdir()?, authority: Authority::new("ca") };
        files.write("ca.pem", &files.authority.pem())?;
        files.write("server.pem", &files.authority.issue("server", |_| {}))?;
        Ok(files)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn text(&self, name: &str) -> String {
        self.path(name).display().to_string()
    }

    fn write(&self, name: &str, text: &str) -> Result<String> {
        fs::write(self.path(name), text)?;
        Ok(self.text(name))
    }

    fn on(&self, config: ClusterConfig) -> ClusterConfig {
        config
            .set("ssl.keystore.type", "PEM")
            .set("ssl.keystore.location", self.text("server.pem"))
            .set("ssl.truststore.type", "PEM")
            .set("ssl.truststore.location", self.text("ca.pem"))
    }
}

/// Brokers and quorum know each other by certificates; clients come in plaintext.
#[test]
fn brokers_and_the_quorum_speak_tls() -> Result<()> {
    let files = Files::new()?;
    let map = "PLAINTEXT:PLAINTEXT,REPLICATION:SSL,CONTROLLER:SSL";
    let config = files
        .on(ClusterConfig::new(3))
        .set("listener.security.protocol.map", map)
        .set("ssl.client.auth", "required");
    with_cluster(config, |cluster| {
        let at = cluster.bootstrap();
        create(&at, 3)?;
        kcat(&["-b", &at, "-P", "-t", TOPIC, "-X", "acks=all"], "one\ntwo\n")?;
        // The others take over what was replicated.
        let partitions = cluster.admin()?.partitions(&[TOPIC])?;
        let leader = partitions.get(&(TOPIC.to_owned(), 0)).context("no partition")?.leader;
        let leader = usize::try_from(leader)?;
        cluster.kill(leader)?;
        let others = cluster.ids().filter(|id| *id != leader).map(|id| cluster.address(id));
        let at = others.collect::<Vec<_>>().join(",");
        wait::until("the records from another broker", LIMIT, || {
            let read = kcat(&["-b", &at, "-C", "-t", TOPIC, "-e", "-o", "beginning"], "");
            Ok(read.ok().filter(|read| read.trim() == "one\ntwo"))
        })?;
        cluster.start_broker(leader)?;
        cluster.wait_broker(leader)
    });
    Ok(())
}

fn create(at: &str, replication: usize) -> Result<()> {
    let replication = replication.to_string();
    let create = ["--create", "--topic", TOPIC, "--replication-factor", &replication];
    tool_ok(TOPICS, &[&["--bootstrap-server", at][..], &create].concat(), "")?;
    Ok(())
}

struct Secured<'a> {
    files: &'a Files,
    plain: String,
    sasl: String,
    mutual: String,
}

#[test]
fn clients_authenticate() -> Result<()> {
    let files = Files::new()?;
    let (sasl, mutual) = (ports::free()?, ports::free()?);
    let users = format!("{LOGIN}.plain.PlainLoginModule required user_alice=\"alice-secret\";");
    let map = "PLAINTEXT:PLAINTEXT,REPLICATION:PLAINTEXT,CONTROLLER:PLAINTEXT,\
               CLIENTS:SASL_SSL,MUTUAL:SSL";
    let config = files
        .on(ClusterConfig::new(1))
        .listener("CLIENTS", sasl)
        .listener("MUTUAL", mutual)
        .set("listener.security.protocol.map", map)
        .set("listener.name.clients.sasl.enabled.mechanisms", MECHANISMS.join(","))
        .set("listener.name.clients.plain.sasl.jaas.config", users)
        .set("listener.name.mutual.ssl.client.auth", "required");
    with_cluster(config, |cluster| {
        let at = |port: u16| format!("127.0.0.1:{port}");
        let plain = cluster.bootstrap();
        let secured = Secured { files: &files, plain, sasl: at(sasl), mutual: at(mutual) };
        create(&secured.plain, 1)?;
        secured.users_are_made_by_kafka_configs()?;
        secured.passwords_open_the_door()?;
        secured.certificates_open_the_door()?;
        secured.passwords_are_told_to_nobody(cluster)?;
        secured.users_are_removed()?;
        secured.certificates_are_renewed()
    });
    Ok(())
}

impl Secured<'_> {
    fn configs(&self, args: &[&str]) -> Result<String> {
        tool_ok(CONFIGS, &[&["--bootstrap-server", &self.plain][..], args].concat(), "")
    }

    fn users_are_made_by_kafka_configs(&self) -> Result<()> {
        let credentials = "SCRAM-SHA-256=[iterations=8192,password=alice-secret],\
                           SCRAM-SHA-512=[password=alice-secret]";
        let alice = ["--entity-type", "users", "--entity-name", "alice"];
        self.configs(&[&["--alter", "--add-config", credentials][..], &alice].concat())?;
        let described = self.configs(&[&["--describe"][..], &alice].concat())?;
        ensure!(described.contains("SCRAM-SHA-256=iterations=8192"), "{described}");
        ensure!(described.contains("SCRAM-SHA-512=iterations=4096"), "{described}");
        ensure!(!described.contains("secret"), "{described}");
        Ok(())
    }

    /// What librdkafka says through kcat.
    fn kcat(&self, at: &str, extra: &[&str], args: &[&str]) -> Result<String> {
        let authority = format!("ssl.ca.location={}", self.files.text("ca.pem"));
        let mut all = vec!["-b", at, "-X", &authority, "-m", "15"];
        extra.iter().for_each(|property| all.extend(["-X", property]));
        all.extend(args);
        kcat(&all, "")
    }

    /// By PLAIN only: in SCRAM, librdkafka before 2.6.1, which the distribution has, says its nonce
    /// twice. Apache Kafka 4 refuses that as well (CVE-2024-56128).
    fn kcat_plain(&self, password: &str) -> Result<String> {
        let password = format!("sasl.password={password}");
        let extra = [
            "security.protocol=SASL_SSL",
            "sasl.mechanisms=PLAIN",
            "sasl.username=alice",
            &password,
        ];
        self.kcat(&self.sasl, &extra, &["-L"])
    }

    /// What the official tools need to know.
    fn java(&self, name: &str, more: &str) -> Result<String> {
        let trust = self.files.text("ca.pem");
        let common = format!("ssl.truststore.type=PEM\nssl.truststore.location={trust}\n");
        self.files.write(name, &format!("{common}{more}"))
    }

    fn java_sasl(&self, mechanism: &str, password: &str) -> Result<Said> {
        let module = match mechanism {
            "PLAIN" => "plain.PlainLoginModule",
            _ => "scram.ScramLoginModule",
        };
        let login =
            format!("{LOGIN}.{module} required username=\"alice\" password=\"{password}\";");
        let properties = format!(
            "security.protocol=SASL_SSL\nsasl.mechanism={mechanism}\nsasl.jaas.config={login}\n"
        );
        self.list_topics(&self.sasl, &self.java("sasl.properties", &properties)?)
    }

    fn list_topics(&self, at: &str, properties: &str) -> Result<Said> {
        tool(TOPICS, &["--bootstrap-server", at, "--command-config", properties, "--list"], "")
    }

    fn passwords_open_the_door(&self) -> Result<()> {
        for mechanism in MECHANISMS {
            let said = self.java_sasl(mechanism, "alice-secret")?;
            ensure!(said.success && said.out.contains(TOPIC), "{mechanism} {said:?}");
            let said = self.java_sasl(mechanism, "wrong")?;
            let told = format!("{}{}", said.out, said.err);
            ensure!(!said.success && told.contains("SaslAuthenticationException"), "{told}");
            for (client, command) in secure_clients()? {
                let said = self.secure(command, mechanism, "alice-secret")?;
                ensure!(said.success, "{client} {mechanism}\n{}\n{}", said.out, said.err);
            }
        }
        for (client, command) in secure_clients()? {
            let said = self.secure(command, "SCRAM-SHA-512", "wrong")?;
            ensure!(!said.success, "{client} with a wrong password");
        }
        ensure!(self.kcat_plain("wrong").is_err(), "kcat with a wrong password");
        self.kcat_plain("alice-secret")?;
        Ok(())
    }

    fn secure(&self, mut command: Command, mechanism: &str, password: &str) -> Result<Said> {
        let authority = self.files.text("ca.pem");
        command.args([&self.sasl, &authority, mechanism, "alice", password, TOPIC]);
        run(&mut command, "", LIMIT)
    }

    fn certificates_open_the_door(&self) -> Result<()> {
        let right = self.files.authority.issue("bob", |_| {});
        let late = self.files.authority.issue("bob", expired);
        let strange = Authority::new("other").issue("bob", |_| {});
        for (pem, may_come, why) in [
            (Some(right), true, "its certificate is right"),
            (Some(late), false, "its certificate has expired"),
            (Some(strange), false, "its certificate is another authority's"),
            (None, false, "it has none"),
        ] {
            let mut properties = "security.protocol=SSL\n".to_owned();
            let mut extra = vec!["security.protocol=SSL".to_owned()];
            if let Some(pem) = pem {
                let file = self.files.write("client.pem", &pem)?;
                properties += &format!("ssl.keystore.type=PEM\nssl.keystore.location={file}\n");
                extra.push(format!("ssl.certificate.location={file}"));
                extra.push(format!("ssl.key.location={file}"));
            }
            let said =
                self.list_topics(&self.mutual, &self.java("ssl.properties", &properties)?)?;
            ensure!(said.success == may_come, "the official client: {why} {said:?}");
            let extra: Vec<&str> = extra.iter().map(String::as_str).collect();
            let listed = self.kcat(&self.mutual, &extra, &["-L"]);
            ensure!(listed.is_ok() == may_come, "librdkafka: {why} {listed:?}");
        }
        Ok(())
    }

    fn passwords_are_told_to_nobody(&self, cluster: &Cluster) -> Result<()> {
        let all = ["--describe", "--all", "--entity-type", "brokers", "--entity-name", "1"];
        let described = self.configs(&all)?;
        ensure!(described.contains("plain.sasl.jaas.config=null sensitive=true"), "{described}");
        ensure!(!described.contains("alice-secret"), "a password is described");
        let log = fs::read_to_string(cluster.process(1)?.log())?;
        ensure!(log.contains("authentication failed"), "nothing tells of the failures");
        ensure!(!log.contains("alice-secret") && !log.contains("wrong"), "a password is logged");
        Ok(())
    }

    fn users_are_removed(&self) -> Result<()> {
        let alice = ["--entity-type", "users", "--entity-name", "alice"];
        let delete = ["--alter", "--delete-config", "SCRAM-SHA-256"];
        self.configs(&[&delete[..], &alice].concat())?;
        ensure!(!self.java_sasl("SCRAM-SHA-256", "alice-secret")?.success);
        ensure!(self.java_sasl("SCRAM-SHA-512", "alice-secret")?.success, "the other one stays");
        Ok(())
    }

    fn certificates_are_renewed(&self) -> Result<()> {
        let new = Authority::new("new");
        self.files.write("server.pem", &new.issue("server", |_| {}))?;
        self.files.write("ca.pem", &new.pem())?;
        wait::until("the new certificate", LIMIT, || Ok(self.kcat_plain("alice-secret").ok()))?;
        Ok(())
    }
}
