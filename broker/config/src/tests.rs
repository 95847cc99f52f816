//! Configurations as small texts: what is accepted, and what is refused by which name.
#![allow(clippy::unwrap_used)]

use super::*;

const MINIMAL: &str = "node.id=1\n\
    listeners=PLAINTEXT://127.0.0.1:9092,CONTROLLER://127.0.0.1:9093\n\
    controller.listener.names=CONTROLLER\n\
    controller.quorum.voters=1@127.0.0.1:9093\n";

fn parse(extra: &str) -> Result<Config, ConfigError> {
    Config::from_properties(parse_properties(&format!("{MINIMAL}{extra}")).unwrap())
}

/// The configuration is refused, and the message names what it must name.
fn refused(extra: &str, names: &str) {
    let message = parse(extra).unwrap_err().to_string();
    assert!(message.contains(names), "{extra:?}: {message}");
}

#[test]
fn defaults_are_kafkas() {
    let config = parse("").unwrap();
    assert_eq!(config.broker_id, BrokerId(1));
    assert!(config.is_controller);
    assert_eq!(config.log_dirs, [PathBuf::from("/tmp/kafka-logs")]);
    assert_eq!(config.metadata_log_dir, PathBuf::from("/tmp/kafka-logs"));
    assert_eq!(config.inter_broker_listener, "PLAINTEXT");
    assert_eq!(config.net.request_bytes_max, 104_857_600);
    assert_eq!(config.topic.num_partitions, 1);
    assert!(config.topic.auto_create && !config.topic.unclean_leader_election);
    assert_eq!(config.replica.lag_time_ms_max, 30_000);
    assert_eq!(config.offsets.retention_ms, 10_080 * 60_000);
    assert_eq!(config.http_listener, None);
    // Kafka's own session times would only slow failover down, unless somebody sets them.
    assert_eq!(config.session.silence_ms, 1000);
    assert_eq!(parse("broker.session.timeout.ms=9000").unwrap().session.silence_ms, 9000);
}

/// Whatever is set, a broker is heard several times before it counts as silent.
#[test]
fn a_heartbeat_is_never_slower_than_the_silence_limit_allows() {
    let session = |extra: &str| {
        let session = parse(extra).unwrap().session;
        (session.heartbeat_interval_ms, session.silence_ms)
    };
    assert_eq!(session(""), (200, 1000));
    assert_eq!(session("broker.heartbeat.interval.ms=1500"), (200, 1000));
    assert_eq!(session("broker.heartbeat.interval.ms=50"), (50, 1000));
    assert_eq!(session("barnabas.heartbeat.interval.ms=5000"), (200, 1000));
    assert_eq!(session("barnabas.session.silence.ms=300"), (60, 300));
    assert_eq!(session("broker.session.timeout.ms=9000"), (200, 9000));
    let kafkas = "broker.heartbeat.interval.ms=2000\nbroker.session.timeout.ms=9000";
    assert_eq!(session(kafkas), (1800, 9000));
    // What the user wrote is what is described.
    let explicit = parse("broker.heartbeat.interval.ms=1500").unwrap().explicit;
    assert_eq!(explicit["broker.heartbeat.interval.ms"], "1500");
}

#[test]
fn session_times_that_can_never_work_are_refused_by_name() {
    refused("broker.session.timeout.ms=49", "broker.session.timeout.ms");
    refused("barnabas.session.silence.ms=49", "barnabas.session.silence.ms");
    refused("barnabas.session.grace.ms=1001", "barnabas.session.grace.ms");
    assert!(parse("barnabas.session.silence.ms=60").is_ok(), "the default grace is above it");
}

#[test]
fn every_default_is_valid_and_every_name_is_unique() {
    let mut names = std::collections::BTreeSet::new();
    for key in metadata::config::broker_keys() {
        assert!(names.insert(key.name), "{} is defined twice", key.name);
        if let Some(default) = key.default {
            assert_eq!(key.validate(default), Ok(()), "{}", key.name);
        }
    }
}

#[test]
fn unknown_keys_are_named_with_a_suggestion() {
    refused("num.partition=3", "num.partition (did you mean num.partitions?)");
    refused("log.nonsense=3", "unknown configuration key log.nonsense");
    refused("barnabas.nonsense=3", "unknown configuration key barnabas.nonsense");
}

/// As Kafka does, with a warning; a broker starts from the files that people have.
#[test]
fn keys_of_older_kafkas_and_of_plug_ins_are_ignored_with_a_reason() {
    let file = "zookeeper.connect=zk:2181\ninter.broker.protocol.version=3.9\n\
                advertised.port=1\nconfluent.support.metrics.enable=false\n";
    let ignored = parse(file).unwrap().ignored;
    let ignored: Vec<(&str, &str)> = ignored.iter().map(|(k, w)| (&**k, &**w)).collect();
    assert_eq!(
        ignored,
        [
            ("advertised.port", "Kafka has not had it since version 3.0"),
            ("confluent.support.metrics.enable", "no key of Kafka begins like this"),
            ("inter.broker.protocol.version", "Kafka has not had it since version 4.0"),
            ("zookeeper.connect", "Kafka has not had it since version 4.0"),
        ]
    );
}

#[test]
fn the_older_name_of_the_id_says_the_same() {
    assert_eq!(parse("broker.id=1").unwrap().broker_id, BrokerId(1));
    assert_eq!(parse("broker.id=-1").unwrap().broker_id, BrokerId(1), "Kafka's default");
    refused("broker.id=2", "broker.id: must be the same as node.id, which is 1");
    let only = MINIMAL.replace("node.id=1", "broker.id=1");
    let config = Config::from_properties(parse_properties(&only).unwrap()).unwrap();
    assert_eq!(config.broker_id, BrokerId(1));
}

#[test]
fn members_may_have_any_session_timeout_where_the_file_says_so() {
    assert_eq!(parse("group.min.session.timeout.ms=0").unwrap().group.session_timeout_ms_min, 0);
}

#[test]
fn invalid_values_are_named() {
    refused("num.partitions=0", "num.partitions: must be at least 1");
    refused("num.partitions=x", "num.partitions: expected an integer");
    refused("auto.create.topics.enable=yes", "auto.create.topics.enable: expected true or false");
    refused("compression.type=rar", "compression.type: expected one of");
    refused("default.replication.factor=99999", "default.replication.factor");
    refused("barnabas.http.listener=nonsense", "barnabas.http.listener");
    refused("process.roles=controller", "process.roles: every node is a broker");
    refused("process.roles=broker", "controller.quorum.voters");
    refused("inter.broker.listener.name=OTHER", "inter.broker.listener.name");
    refused("advertised.listeners=OTHER://a:1", "advertised.listeners: OTHER");
}

#[test]
fn there_is_one_authorizer() {
    let standard = "authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer";
    assert_eq!(parse("super.users=User:a").unwrap().authorizer, None, "nobody asks it");
    let config = parse(&format!("{standard}\nsuper.users=User:a; User:CN=b,O=c")).unwrap();
    let authorizer = config.authorizer.unwrap();
    assert!(authorizer.is_super_user("User:CN=b,O=c") && !authorizer.is_super_user("User:b"));
    refused("authorizer.class.name=x.Y", "there is no other authorizer than org.apache.kafka");
    refused(&format!("{standard}\nsuper.users=alice"), "super.users: expected principals");
    refused(&format!("{standard}\nallow.everyone.if.no.acl.found=1"), "expected true or false");
}

#[test]
fn what_would_promise_too_much_is_refused() {
    refused("delegation.token.secret.key=x", "delegation.token.secret.key is not supported");
    refused("listener.security.protocol.map=PLAINTEXT:PLAINTEXT", "no protocol for listener CONTR");
}

/// Whose secret each made for itself would never talk to each other.
#[test]
fn brokers_of_a_cluster_are_given_their_secret() {
    let two = MINIMAL.replace("1@127.0.0.1:9093", "1@127.0.0.1:9093,2@127.0.0.1:9095");
    let parse =
        |extra: &str| Config::from_properties(parse_properties(&format!("{two}{extra}")).unwrap());
    let message = parse("").unwrap_err().to_string();
    assert!(message.contains("barnabas.internal.secret.file is required"), "{message}");
    let given = parse("barnabas.internal.secret.file=/s/secret").unwrap().secret;
    assert_eq!((given.file, given.required), (Some(PathBuf::from("/s/secret")), true));
    let open = parse("barnabas.internal.secret.required=false").unwrap().secret;
    assert_eq!((open.file, open.required), (None, false));
    let alone = Config::from_properties(parse_properties(MINIMAL).unwrap()).unwrap().secret;
    assert_eq!((alone.file, alone.required), (None, true));
}

#[test]
fn what_has_no_effect_is_listed() {
    let config = parse("num.network.threads=8\nbackground.threads=2").unwrap();
    assert_eq!(config.without_effect, ["background.threads", "num.network.threads"]);
}

#[test]
fn a_sole_broker_may_be_its_own_bootstrap_server() {
    let key = "controller.quorum.bootstrap.servers";
    let alone: String = MINIMAL
        .lines()
        .filter(|line| !line.starts_with("controller.quorum.voters"))
        .map(|line| format!("{line}\n"))
        .collect();
    let parse = |servers: String| {
        let text = format!("{alone}{key}={servers}");
        Config::from_properties(parse_properties(&text).unwrap())
    };
    let port = parse(String::new()).unwrap().controller_advertised.port;
    assert_eq!(parse(format!("localhost:{port}")).unwrap().without_effect, [key]);
    for (servers, named) in [
        ("localhost:1".to_owned(), "controller.quorum.voters"),
        (format!("localhost:{port},other:{port}"), "controller.quorum.voters"),
        ("nonsense".to_owned(), key),
    ] {
        let message = parse(servers).unwrap_err().to_string();
        assert!(message.contains(named), "{message}");
    }
}

#[test]
fn keys_of_what_is_not_built_are_known() {
    refused("ssl.cipher.suites=A", "ssl.cipher.suites is not supported");
    refused("sasl.kerberos.service.name=kafka", "sasl.kerberos.service.name is not supported");
    let ignored = "group.streams.max.size=9\nremote.log.reader.threads=3";
    assert_eq!(
        parse(ignored).unwrap().without_effect,
        ["group.streams.max.size", "remote.log.reader.threads"]
    );
    // They tune what the broker does not have.
    assert_eq!(parse("request.timeout.ms=9").unwrap().without_effect, ["request.timeout.ms"]);
}

#[test]
fn required_keys_are_named() {
    let without = |key: &str| {
        let mut properties = parse_properties(MINIMAL).unwrap();
        properties.remove(key);
        Config::from_properties(properties).unwrap_err().to_string()
    };
    assert!(without("node.id").contains("node.id is required"));
    assert!(without("controller.listener.names").contains("controller.listener.names is required"));
}

#[test]
fn hours_minutes_and_milliseconds() {
    let retention =
        |extra: &str| parse(extra).unwrap().value("log.retention.ms").map(str::to_owned);
    assert_eq!(retention(""), None);
    assert_eq!(retention("log.retention.ms=5"), Some("5".to_owned()));
    assert_eq!(parse("offsets.retention.minutes=2").unwrap().offsets.retention_ms, 120_000);
}

#[test]
fn a_wildcard_is_advertised_by_the_host_name() {
    let text = MINIMAL.replace("PLAINTEXT://127.0.0.1:9092", "PLAINTEXT://:9092");
    let config = Config::from_properties(parse_properties(&text).unwrap()).unwrap();
    assert_eq!(config.listeners[0].host, "");
    assert!(!config.advertised[0].host.is_empty());
    assert_ne!(config.advertised[0].host, "0.0.0.0");
}

#[test]
fn a_voter_on_every_interface_is_found_where_the_list_of_voters_says() {
    let controller = |text: &str| {
        let config = Config::from_properties(parse_properties(text).unwrap()).unwrap();
        config.controller_advertised.to_string()
    };
    let dns = MINIMAL.replace("voters=1@127.0.0.1:9093", "voters=1@b-1.b.ns.svc:9093");
    assert_eq!(controller(&dns), "CONTROLLER://127.0.0.1:9093", "it is bound to one address");
    for wildcard in ["", "0.0.0.0", "[::]"] {
        let text = dns.replace("CONTROLLER://127.0.0.1", &format!("CONTROLLER://{wildcard}"));
        assert_eq!(controller(&text), "CONTROLLER://b-1.b.ns.svc:9093", "{wildcard:?}");
        let told = "advertised.listeners=CONTROLLER://other:1\n";
        assert_eq!(controller(&format!("{text}{told}")), "CONTROLLER://other:1");
    }
}

#[test]
fn overrides_win() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("server.properties");
    std::fs::write(&file, MINIMAL).unwrap();
    let load = |overrides: &[&str]| {
        let overrides: Vec<String> = overrides.iter().map(|s| (*s).to_owned()).collect();
        Config::load(std::slice::from_ref(&file), &overrides)
    };
    assert_eq!(load(&["num.partitions=7"]).unwrap().topic.num_partitions, 7);
    assert_eq!(load(&["bad"]), Err(ConfigError::Override("bad".to_owned())));
    let missing = Config::load(&[dir.path().join("none")], &[]).unwrap_err();
    assert!(missing.to_string().contains("none"));
    let own = dir.path().join("broker-1.properties");
    std::fs::write(&own, "num.partitions=5\nbroker.rack=a\n").unwrap();
    std::fs::write(&file, format!("{MINIMAL}num.partitions=3\nnum.io.threads=4\n")).unwrap();
    let both = Config::load(&[file.clone(), own], &[]).unwrap();
    assert_eq!((both.topic.num_partitions, both.rack.as_deref()), (5, Some("a")));
    assert_eq!(
        both.value("num.io.threads"),
        Some("4"),
        "the first file holds where the second is silent"
    );
}

mod security {
    use base::tls::{ClientAuth, Pem};

    use super::*;

    const MAP: &str = "listeners=A://:1,B://:2,CONTROLLER://127.0.0.1:9093\n\
        listener.security.protocol.map=A:SASL_SSL,B:PLAINTEXT,CONTROLLER:PLAINTEXT\n\
        inter.broker.listener.name=B\n";
    const TLS: &str = "ssl.keystore.type=PEM\nssl.keystore.location=/k.pem\n";
    const USERS: &str = "listener.name.a.plain.sasl.jaas.config=\
        org.apache.kafka.common.security.plain.PlainLoginModule required user_bob=\"s3cret\";\n";
    const PLAIN: &str = "sasl.enabled.mechanisms=PLAIN\n";

    fn with(extra: &str) -> Result<Config, ConfigError> {
        parse(&format!("{MAP}{extra}"))
    }

    fn refused(extra: &[&str], names: &str) {
        let message = with(&extra.concat()).unwrap_err().to_string();
        assert!(message.contains(names), "{extra:?}: {message}");
        assert!(!message.contains("s3cret"), "{message}");
    }

    #[test]
    fn a_listener_has_its_own_keys_before_those_of_all() {
        let own = "listener.name.a.ssl.keystore.location=/a.pem\n\
            listener.name.a.ssl.client.auth=required\nlistener.name.a.ssl.truststore.type=PEM\n\
            listener.name.a.ssl.truststore.location=/ca.pem\n\
            connections.max.reauth.ms=5000\n";
        let config = with(&[TLS, USERS, PLAIN, own].concat()).unwrap();
        let a = config.security_of("A").unwrap();
        let tls = a.tls.as_ref().unwrap();
        let pem = Pem::File("/a.pem".into());
        assert_eq!(tls.identity.as_ref().unwrap().chain, pem);
        assert_eq!(tls.client_auth, ClientAuth::Required);
        assert!(tls.tls12 && tls.tls13 && tls.verifies_names);
        let sasl = a.sasl.as_ref().unwrap();
        assert_eq!(sasl.mechanisms, [Mechanism::Plain]);
        assert_eq!(sasl.reauth_ms_max[&Mechanism::Plain], 5000);
        assert_eq!(sasl.users["bob"].expose(), "s3cret");
        let b = config.security_of("B").unwrap();
        assert_eq!((b.protocol, &b.tls, &b.sasl), (SecurityProtocol::Plaintext, &None, &None));
        assert!(!format!("{:?}", config.security).contains("s3cret"));
    }

    #[test]
    fn what_is_not_read_is_refused_with_what_converts_it() {
        let jks = "ssl.keystore.location=/k.jks\n";
        refused(&[jks, USERS, PLAIN], "keytool -importkeystore -srckeystore /k.jks");
        let p12 = "ssl.keystore.location=/k.p12\nssl.keystore.type=PKCS12\n";
        refused(&[p12, USERS, PLAIN], "openssl pkcs12 -nodes -in /k.p12");
        let trust = "ssl.truststore.location=/t.jks\n";
        refused(&[TLS, USERS, PLAIN, trust], "keytool -list -rfc -keystore /t.jks");
        refused(&[TLS, "ssl.keystore.password=s3cret\n"], "ssl.keystore.password is not supported");
    }

    #[test]
    fn what_a_listener_lacks_is_named() {
        refused(&[USERS, PLAIN], "listener.name.a.ssl.keystore.location");
        refused(&[TLS, USERS], "sasl.enabled.mechanisms: knows PLAIN");
        refused(&[TLS, PLAIN], "listener.name.a.plain.sasl.jaas.config is required");
        let auth = "ssl.client.auth=required\n";
        assert!(with(&[TLS, USERS, PLAIN, auth].concat()).is_ok(), "SASL says who it is");
        let auth = "listener.name.a.ssl.client.auth=required\n";
        refused(&[TLS, USERS, PLAIN, auth], "listener.name.a.ssl.truststore.location");
        let brokers = "inter.broker.listener.name=A\n";
        refused(&[TLS, USERS, PLAIN, brokers], "listener.name.a.ssl.truststore.location");
        let other = "listener.name.c.ssl.keystore.location=/x\n";
        refused(&[TLS, USERS, PLAIN, other], "no listener is called c");
        let map = "listener.security.protocol.map=A:PLAINTEXT,B:PLAINTEXT,CONTROLLER:SASL_SSL\n";
        refused(&[map], "listener CONTROLLER: SASL_SSL is not supported");
        refused(&["sasl.jaas.config=s3cret\n"], "belongs to a listener");
        let bad = "listener.name.a.plain.sasl.jaas.config=x required user_a=s3cret;\n";
        refused(&[TLS, PLAIN, bad], "is no PlainLoginModule");
    }
}
