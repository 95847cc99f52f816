//! An error as a result, in one word.

use base::ErrorCode;

use crate::request::ControllerError;

pub(super) fn error<T>(code: ErrorCode, message: impl Into<String>) -> Result<T, ControllerError> {
    Err(ControllerError::new(code, message))
}
