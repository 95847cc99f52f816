//! What clients know: producers, consumers and members of a group.

mod consumer;
mod member;
mod producer;

pub(crate) use consumer::Consumer;
pub(crate) use member::Member;
pub(crate) use member::*;
pub(crate) use producer::Producer;
pub(crate) use producer::*;

pub(crate) enum Client {
    Producer(Producer),
    Consumer(Consumer),
    Member(Member),
}

impl Client {
    /// What it is doing, for people.
    pub(crate) fn text(&self) -> String {
        match self {
            Client::Producer(producer) => producer.text(),
            Client::Consumer(consumer) => format!("consumer at {}", consumer.position()),
            Client::Member(member) => member.text(),
        }
    }
}
