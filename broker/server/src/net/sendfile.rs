//! The system calls of the write side: gathering writes that tell the kernel when more follows,
//! and file ranges that never enter this process.

use std::io::{self, IoSlice};
use std::os::fd::AsFd;

use rustix::net::{SendAncillaryBuffer, SendFlags};
use tokio::io::Interest;
use tokio::net::TcpStream;

/// Writes as much of the slices as the socket takes. `more`: a file range follows at once, so that
/// the kernel does not send a short segment before it.
pub fn write_some(stream: &TcpStream, slices: &[IoSlice<'_>], more: bool) -> io::Result<usize> {
    let mut flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
    if more {
        flags |= SendFlags::MORE;
    }
    stream.try_io(Interest::WRITABLE, || {
        let mut control = SendAncillaryBuffer::default();
        Ok(rustix::net::sendmsg(stream, slices, &mut control, flags)?)
    })
}

/// Sends as much of a file range as the socket takes. 0 means that the file ends before the range.
pub fn send_some(
    stream: &TcpStream,
    file: impl AsFd,
    position: u64,
    len: usize,
) -> io::Result<usize> {
    stream.try_io(Interest::WRITABLE, || {
        let mut offset = position;
        Ok(rustix::fs::sendfile(stream, &file, Some(&mut offset), len)?)
    })
}
