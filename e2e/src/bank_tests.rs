//! The checker sees what it is there for: each fault is planted into a history that is sound.

use super::*;

const SOUND: &str = "\
begin in-1
commit in-1
begin to-2
commit to-2
begin in-3
abort in-3
begin to-4
unknown to-4
snapshot 1 0
read 1 0 0 in-1 10 -5
read 1 0 1 in-1 11 5
snapshot final 0
read final 0 0 in-1 10 -5
read final 0 1 in-1 11 5
read final 0 4 to-2 10 -7
snapshot final 1
read final 1 0 to-2 20 7
stable 0 6 6
stable 1 2 2
";

fn anomaly(from: &str, to: &str) -> String {
    assert!(SOUND.contains(from), "{from}");
    let planted = SOUND.replacen(from, to, 1);
    format!("{:#}", check(&planted).expect_err(&planted))
}

#[test]
fn a_sound_history_passes() {
    let counts = Counts { committed: 2, aborted: 1, unknown: 1, snapshots: 3 };
    assert_eq!(check(SOUND).unwrap(), counts);
}

#[test]
fn planted_faults_are_seen() {
    for (what, from, to, said) in [
        ("an aborted record", "read final 0 4 to-2 10 -7", "read final 0 4 in-3 10 -7", "aborted"),
        ("half a transfer", "read 1 0 1 in-1 11 5\n", "", "half visible"),
        ("half of one over partitions", "read final 1 0 to-2 20 7\n", "", "half visible"),
        ("another amount", "read final 1 0 to-2 20 7", "read final 1 0 to-2 20 8", "half visible"),
        ("a record of nobody", "begin to-2\ncommit to-2\n", "", "never begun"),
        (
            "a record twice",
            "read final 0 4 to-2 10 -7",
            "read final 0 4 to-2 10 -7\nread final 0 5 to-2 10 -7",
            "twice",
        ),
        (
            "a commit that is lost",
            "read final 0 4 to-2 10 -7\nsnapshot final 1\nread final 1 0 to-2 20 7\n",
            "snapshot final 1\n",
            "is lost",
        ),
        ("a record that moved", "read final 0 0 in-1 10 -5", "read final 0 -0 in-9 10 -5", "never"),
        ("an open transaction", "stable 0 6 6", "stable 0 5 6", "open from 5"),
    ] {
        let told = anomaly(from, to);
        assert!(told.contains(said), "{what}: {told}");
    }
    let moved = SOUND.replacen("read final 0 1 in-1", "read final 0 2 in-1", 1);
    let told = format!("{:#}", check(&moved).unwrap_err());
    assert!(told.contains("lost or moved"), "{told}");
}
