//! What can go wrong with an administrative request.

use std::fmt;

use base::ErrorCode;
use client::ClientError;
use wire::{ApiKey, Str};

use crate::Error;

/// A request that brought no answer, or was refused as a whole.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum AdminError {
    /// No address could be connected to.
    #[error("no broker can be reached: {0}")]
    Unreachable(String),
    /// It may or may not have been executed.
    #[error("no answer to {0} in time")]
    Timeout(ApiKey),
    /// The connection broke; it may or may not have been executed.
    #[error("no answer to {api}: {reason}")]
    Lost { api: ApiKey, reason: String },
    /// The two sides do not understand each other.
    #[error("{api}: {reason}")]
    Protocol { api: ApiKey, reason: String },
    #[error("{api}: {refused}")]
    Refused { api: ApiKey, refused: Refused },
}

impl AdminError {
    /// The same request may succeed a little later.
    pub fn is_retriable(&self) -> bool {
        match self {
            AdminError::Unreachable(_) | AdminError::Timeout(_) | AdminError::Lost { .. } => true,
            AdminError::Protocol { .. } => false,
            AdminError::Refused { refused, .. } => refused.is_retriable(),
        }
    }

    /// Kafka's code, where a broker answered.
    pub fn code(&self) -> Option<ErrorCode> {
        match self {
            AdminError::Refused { refused, .. } => Some(refused.code),
            _ => None,
        }
    }

    pub(super) fn from_client(api: ApiKey, error: &ClientError) -> AdminError {
        match error {
            ClientError::Timeout(_) => AdminError::Timeout(api),
            ClientError::Closed(closed) => AdminError::Lost { api, reason: closed.to_string() },
            ClientError::Connect { .. } | ClientError::ConnectTimeout { .. } => {
                AdminError::Unreachable(error.to_string())
            }
            _ => AdminError::Protocol { api, reason: error.to_string() },
        }
    }

    /// Success, or what the broker said.
    pub(super) fn check(api: ApiKey, code: i16, message: Option<&Str>) -> Result<(), AdminError> {
        Refused::check(code, message).map_err(|refused| AdminError::Refused { api, refused })
    }
}

impl From<AdminError> for Error {
    fn from(error: AdminError) -> Error {
        match error {
            AdminError::Timeout(api) => Error::Timeout(api.to_string()),
            other => Error::Brokers(other.to_string()),
        }
    }
}

/// What a broker answered instead of doing it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Refused {
    pub code: ErrorCode,
    /// The broker's words, or the code's meaning.
    pub message: String,
}

impl Refused {
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Refused {
        Refused { code, message: message.into() }
    }

    pub(super) fn check(code: i16, message: Option<&Str>) -> Result<(), Refused> {
        if code == ErrorCode::None.code() {
            return Ok(());
        }
        let known = ErrorCode::from_i16(code);
        let message = match (message, known) {
            (Some(message), _) if !message.is_empty() => message.to_string(),
            (_, Some(code)) => code.message().to_owned(),
            _ => format!("error {code}, which this operator does not know"),
        };
        Err(Refused { code: known.unwrap_or(ErrorCode::UnknownServerError), message })
    }

    /// The response says nothing about an item of the request.
    pub(crate) fn unanswered() -> Refused {
        Refused::new(ErrorCode::UnknownServerError, "the broker's answer does not mention it")
    }

    /// The same may succeed a little later.
    pub fn is_retriable(&self) -> bool {
        matches!(
            self.code,
            ErrorCode::UnknownServerError
                | ErrorCode::UnknownTopicOrPartition
                | ErrorCode::LeaderNotAvailable
                | ErrorCode::NotLeaderOrFollower
                | ErrorCode::RequestTimedOut
                | ErrorCode::BrokerNotAvailable
                | ErrorCode::StaleControllerEpoch
                | ErrorCode::NetworkException
                | ErrorCode::NotController
                | ErrorCode::KafkaStorageError
                | ErrorCode::OperationNotAttempted
                | ErrorCode::ReassignmentInProgress
                | ErrorCode::PreferredLeaderNotAvailable
                | ErrorCode::EligibleLeadersNotAvailable
                | ErrorCode::ThrottlingQuotaExceeded
        )
    }

    /// Another broker may know better.
    pub(super) fn is_of_the_broker(&self) -> bool {
        matches!(
            self.code,
            ErrorCode::RequestTimedOut
                | ErrorCode::BrokerNotAvailable
                | ErrorCode::StaleControllerEpoch
                | ErrorCode::NotController
                | ErrorCode::NotLeaderOrFollower
        )
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.code, self.message)
    }
}
