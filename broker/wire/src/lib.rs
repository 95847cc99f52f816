//! Kafka's wire protocol as Apache Kafka 4.4 serves it: frames, headers and every message a client
//! may exchange with a broker, in both directions, plus the record schemas of the internal topics.
//!
//! Sans-io: bytes in, values out. The messages are generated at build time from the notation in
//! `schema/`. Shapes to know:
//!
//! - [`messages`]`::<api>_request::XRequest` and `<api>_response::XResponse`, both re-exported as
//!   `messages::{XRequest, XResponse}`; nested structs stay in the module of their message, with
//!   Kafka's names (`messages::produce_request::TopicProduceData`). All have `Default` with Kafka's
//!   defaults: fill what you need and end with `..Default::default()`.
//! - Fields: snake case of Kafka's names; [`Str`] for strings, `Bytes` for bytes, `base::TopicId`
//!   for uuids, `Option` where some version allows null. Records are `Option<Bytes>` in requests
//!   and [`Records`] in responses.
//! - `XRequest::decode(&mut Reader, version)` and `encode(&self, &mut Writer, version)`, also
//!   through the traits [`Message`] and [`Request`] (which names the response type and the
//!   [`ApiKey`]).
//! - Defaults are Kafka's: a nullable field is `None` only if the schema's default is null,
//!   otherwise it is `Some` of nothing. Set nullable fields where the difference matters.
//! - `Bytes` of a decoded message keep its whole frame in memory: copy what is kept for long
//!   (`Bytes::copy_from_slice`). A [`Str`] owns its text.
//! - [`AnyRequest`] and [`AnyResponse`] hold one of all of them, for dispatch.
//!
//! Decoding never allocates from an unchecked length and ignores bytes after the message, as Kafka
//! does. Encoding refuses a field that is set, matters and does not exist in the version.

mod api_key;
mod error;
pub mod frame;
pub mod header;
pub mod messages;
mod reader;
mod records;
mod str;
mod writer;

pub use api_key::ApiKey;
pub use error::{DecodeError, EncodeError};
pub use messages::{AnyRequest, AnyResponse};
pub use reader::{ARRAY_ELEMENTS_MAX, Reader, STRING_BYTES_MAX, TAGS_MAX};
pub use records::{FileRange, Part, Records};
pub use str::Str;
pub use writer::{TagMark, Writer};

use header::{RequestHeader, ResponseHeader};

/// A message (or stored record) that has versions.
pub trait Message: Sized {
    /// Kafka's name, e.g. `FetchRequest`.
    const NAME: &'static str;
    fn decode(r: &mut Reader, version: i16) -> Result<Self, DecodeError>;
    fn encode(&self, w: &mut Writer, version: i16) -> Result<(), EncodeError>;

    /// Where a response tells its client how long to pause.
    fn throttle_time_ms(&mut self) -> Option<&mut i32> {
        None
    }
}

/// A request, tied to its response.
pub trait Request: Message {
    type Response: Message;
    const KEY: ApiKey;
}

/// A whole request frame, length prefix included.
pub fn encode_request<R: Request>(
    request: &R,
    version: i16,
    correlation_id: i32,
    client_id: Option<Str>,
) -> Result<Vec<Part>, EncodeError> {
    let mut w = Writer::frame();
    let header = RequestHeader { api_key: R::KEY, api_version: version, correlation_id, client_id };
    header.encode(&mut w)?;
    request.encode(&mut w, version)?;
    w.finish_frame()
}

/// A whole response frame, length prefix included.
pub fn encode_response(
    response: &AnyResponse,
    version: i16,
    correlation_id: i32,
) -> Result<Vec<Part>, EncodeError> {
    let mut w = Writer::frame();
    let header_version = response.api_key().response_header_version(version);
    ResponseHeader { correlation_id }.encode(&mut w, header_version);
    response.encode(&mut w, version)?;
    w.finish_frame()
}
