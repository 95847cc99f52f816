//! Which partition of `__consumer_offsets` owns a group. Clients never compute it, but two brokers
//! must agree, and so must Kafka's tools: it is Java's `String.hashCode`, over UTF-16 units.

/// `String.hashCode` of Java.
pub fn java_string_hash(text: &str) -> i32 {
    text.encode_utf16().fold(0i32, |hash, unit| hash.wrapping_mul(31).wrapping_add(i32::from(unit)))
}

/// The partition of a group (or transactional id) among `partitions`; Kafka's `Utils.abs` masks the
/// sign bit. A topic without partitions owns nothing and yields 0.
pub fn partition_for(id: &str, partitions: i32) -> i32 {
    if partitions <= 0 {
        return 0;
    }
    (java_string_hash(id) & i32::MAX) % partitions
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_javas() {
        // Computed by the JVM.
        for (text, hash) in
            [("", 0), ("a", 97), ("hello", 99162322), ("polygenelubricants", i32::MIN)]
        {
            assert_eq!(java_string_hash(text), hash, "{text}");
        }
        // Outside the basic plane a character is two UTF-16 units: U+1F600 is D83D DE00.
        assert_eq!(java_string_hash("\u{1f600}"), 0xd83d * 31 + 0xde00);
    }

    #[test]
    fn the_partition_is_never_negative() {
        assert_eq!(partition_for("polygenelubricants", 50), 0);
        assert_eq!(partition_for("hello", 50), 22);
        assert_eq!(partition_for("x", 0), 0);
    }
}
