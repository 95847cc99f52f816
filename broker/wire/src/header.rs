//! The headers before the body of every request and response.

use crate::{ApiKey, DecodeError, EncodeError, Reader, Str, Writer};

/// What precedes a request's body. Version 2 (for flexible requests) adds tagged fields at the end;
/// the client id keeps its old encoding in it, so that the broker can read it in any version.
#[derive(Clone, PartialEq, Debug)]
pub struct RequestHeader {
    pub api_key: ApiKey,
    pub api_version: i16,
    pub correlation_id: i32,
    pub client_id: Option<Str>,
}

impl RequestHeader {
    /// Reads the header of any known API, whether or not its version is supported: the caller
    /// checks that with [`ApiKey::supports`].
    pub fn decode(r: &mut Reader) -> Result<RequestHeader, DecodeError> {
        let key = r.i16()?;
        let api_version = r.i16()?;
        let correlation_id = r.i32()?;
        let api_key = ApiKey::from_i16(key).ok_or(DecodeError::UnknownApiKey { key })?;
        let client_id = r.nullable_string(false)?;
        if api_key.request_header_version(api_version) >= 2 {
            r.skip_tags()?;
        }
        Ok(RequestHeader { api_key, api_version, correlation_id, client_id })
    }

    pub fn encode(&self, w: &mut Writer) -> Result<(), EncodeError> {
        w.i16(self.api_key.code());
        w.i16(self.api_version);
        w.i32(self.correlation_id);
        match &self.client_id {
            Some(client_id) => w.string(false, client_id)?,
            None => w.null_string(false),
        }
        if self.api_key.request_header_version(self.api_version) >= 2 {
            w.uvarint(0);
        }
        Ok(())
    }
}

/// What precedes a response's body: which request it answers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ResponseHeader {
    pub correlation_id: i32,
}

impl ResponseHeader {
    /// `header_version` is [`ApiKey::response_header_version`] of the request answered.
    pub fn decode(r: &mut Reader, header_version: i16) -> Result<ResponseHeader, DecodeError> {
        let correlation_id = r.i32()?;
        if header_version >= 1 {
            r.skip_tags()?;
        }
        Ok(ResponseHeader { correlation_id })
    }

    pub fn encode(&self, w: &mut Writer, header_version: i16) {
        w.i32(self.correlation_id);
        if header_version >= 1 {
            w.uvarint(0);
        }
    }
}
