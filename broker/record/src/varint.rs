//! Zigzag varints as record framing uses them (Protocol Buffers' encoding, at most 5 or 10 bytes).

/// Decodes an i32. Returns the value and the number of bytes it took; `None` where the input
/// ends early or the encoding is longer than five bytes.
#[inline]
pub fn read_i32(buf: &[u8]) -> Option<(i32, usize)> {
    let first = *buf.first()?;
    if first & 0x80 == 0 {
        return Some((zigzag_i32(u32::from(first)), 1));
    }
    let mut value = u32::from(first & 0x7f);
    for i in 1..5 {
        let byte = *buf.get(i)?;
        value |= u32::from(byte & 0x7f).wrapping_shl(7 * i as u32);
        if byte & 0x80 == 0 {
            return Some((zigzag_i32(value), i + 1));
        }
    }
    None
}

/// Decodes an i64, as [`read_i32`] but up to ten bytes.
#[inline]
pub fn read_i64(buf: &[u8]) -> Option<(i64, usize)> {
    let mut value = 0u64;
    for i in 0..10 {
        let byte = *buf.get(i)?;
        value |= u64::from(byte & 0x7f).wrapping_shl(7 * i as u32);
        if byte & 0x80 == 0 {
            return Some(((value >> 1) as i64 ^ -((value & 1) as i64), i + 1));
        }
    }
    None
}

#[inline]
fn zigzag_i32(value: u32) -> i32 {
    (value >> 1) as i32 ^ -((value & 1) as i32)
}

pub fn write_i32(out: &mut Vec<u8>, value: i32) {
    write_u64(out, u64::from((value << 1 ^ value >> 31) as u32));
}

pub fn write_i64(out: &mut Vec<u8>, value: i64) {
    write_u64(out, (value << 1 ^ value >> 63) as u64);
}

fn write_u64(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Bytes that [`write_i32`] would write.
pub fn len_i32(value: i32) -> usize {
    len_u64(u64::from((value << 1 ^ value >> 31) as u32))
}

/// Bytes that [`write_i64`] would write.
pub fn len_i64(value: i64) -> usize {
    len_u64((value << 1 ^ value >> 63) as u64)
}

fn len_u64(value: u64) -> usize {
    (64 - (value | 1).leading_zeros() as usize).div_ceil(7)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn written_numbers_read_back(a: i32, b: i64) {
            let mut out = Vec::new();
            write_i32(&mut out, a);
            assert_eq!(out.len(), len_i32(a));
            assert_eq!(read_i32(&out), Some((a, out.len())));
            out.clear();
            write_i64(&mut out, b);
            assert_eq!(out.len(), len_i64(b));
            assert_eq!(read_i64(&out), Some((b, out.len())));
        }
    }

    #[test]
    fn truncated_and_overlong_numbers_are_refused() {
        assert_eq!(read_i32(&[]), None);
        assert_eq!(read_i32(&[0x80]), None);
        assert_eq!(read_i32(&[0xff; 6]), None);
        assert_eq!(read_i64(&[0xff; 11]), None);
        assert_eq!(read_i64(&[0x80; 9]), None);
    }
}
