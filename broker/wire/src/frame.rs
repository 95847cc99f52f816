//! Frames: a 4-byte length, then that many bytes with one header and one body.

use bytes::{Buf, Bytes, BytesMut};

/// Bytes of the length prefix.
pub const PREFIX_BYTES: usize = 4;

/// What the bytes received so far amount to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Split {
    /// A whole frame, without its length prefix; it was taken out of the buffer.
    Frame(Bytes),
    /// At least this many more bytes are needed.
    Need(usize),
}

/// The length prefix is not one of a frame that may be received here.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum FrameError {
    #[error("frame length {0} is negative")]
    Negative(i32),
    #[error("a frame of {length} bytes exceeds the limit of {frame_bytes_max}")]
    TooLarge { length: usize, frame_bytes_max: usize },
}

/// The length of a frame from its prefix, checked against the limit before anyone allocates it.
pub fn length(prefix: [u8; PREFIX_BYTES], frame_bytes_max: usize) -> Result<usize, FrameError> {
    let prefix = i32::from_be_bytes(prefix);
    let length = usize::try_from(prefix).map_err(|_| FrameError::Negative(prefix))?;
    if length > frame_bytes_max {
        return Err(FrameError::TooLarge { length, frame_bytes_max });
    }
    Ok(length)
}

/// Takes the first frame out of `buffer`, or says how many bytes are missing. The frame shares the
/// buffer's memory. Reserve what is missing before reading on, so that a large frame is received
/// into its final place.
pub fn split(buffer: &mut BytesMut, frame_bytes_max: usize) -> Result<Split, FrameError> {
    let Some(prefix) = buffer.first_chunk::<PREFIX_BYTES>() else {
        return Ok(Split::Need(PREFIX_BYTES - buffer.len()));
    };
    let length = length(*prefix, frame_bytes_max)?;
    let received = buffer.len() - PREFIX_BYTES;
    if received < length {
        return Ok(Split::Need(length - received));
    }
    buffer.advance(PREFIX_BYTES);
    Ok(Split::Frame(buffer.split_to(length).freeze()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_come_out_one_by_one() {
        let mut buffer = BytesMut::from(&[0, 0, 0, 2, 7, 8, 0, 0, 0, 0, 0, 0][..]);
        assert_eq!(split(&mut buffer, 2), Ok(Split::Frame(Bytes::from_static(&[7, 8]))));
        assert_eq!(split(&mut buffer, 2), Ok(Split::Frame(Bytes::new())));
        assert_eq!(split(&mut buffer, 2), Ok(Split::Need(2)));
        buffer.extend_from_slice(&[0, 2, 9]);
        assert_eq!(split(&mut buffer, 2), Ok(Split::Need(1)));
        buffer.extend_from_slice(&[9]);
        assert_eq!(split(&mut buffer, 2), Ok(Split::Frame(Bytes::from_static(&[9, 9]))));
        assert!(buffer.is_empty());
    }

    #[test]
    fn bad_lengths_are_refused_from_the_prefix_alone() {
        let mut negative = BytesMut::from(&[0xff, 0xff, 0xff, 0xff][..]);
        assert_eq!(split(&mut negative, 100), Err(FrameError::Negative(-1)));
        let mut large = BytesMut::from(&[0, 0, 0, 101][..]);
        let error = FrameError::TooLarge { length: 101, frame_bytes_max: 100 };
        assert_eq!(split(&mut large, 100), Err(error));
    }
}
