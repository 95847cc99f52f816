//! Two resources may name one topic; one of them has it.

use std::collections::BTreeMap;

use super::TopicWish;

/// The owner of each topic, by its name in Kafka: the oldest resource, ties broken by namespace,
/// name and uid. One that is being deleted leaves the topic to any other. One that is not managed
/// owns nothing. Indices into `wishes`.
pub fn owners(wishes: &[TopicWish]) -> BTreeMap<&str, usize> {
    let mut owners: BTreeMap<&str, usize> = BTreeMap::new();
    let age = |at: usize| {
        let wish = &wishes[at];
        (wish.deleting, wish.created_ms, &wish.namespace, &wish.name, &wish.uid)
    };
    for (at, wish) in wishes.iter().enumerate().filter(|(_, wish)| wish.managed) {
        let owner = owners.entry(wish.topic.as_str()).or_insert(at);
        if age(at) < age(*owner) {
            *owner = at;
        }
    }
    owners
}
