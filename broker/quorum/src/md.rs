//! Placeholder of the metadata crate's types until that crate publishes them.
#[derive(Clone, Debug, Default)]
pub struct Image;
#[derive(Clone, Debug)]
pub struct MetadataRecord;
