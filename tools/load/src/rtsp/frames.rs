//! Takes an RTSP connection's bytes apart: interleaved frames (RFC 2326 §10.12) and answers between them.
//!
//! Sans-IO. Payloads are not copied: a frame that lies whole in the input is handed on as it is, one that is cut keeps its
//! first [`HEAD`] bytes and its length, which is all a meter looks at.

/// How much of a frame that is cut is kept.
const HEAD: usize = 96;
/// The longest answer without its body.
const ANSWER_MAX: usize = 64 * 1024;

/// One thing on the connection.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Item<'a> {
    /// An interleaved frame; `data` may be its beginning only, `length` is the whole.
    Frame { channel: u8, data: &'a [u8], length: usize },
    /// An answer or a server's request: head and body.
    Message { head: &'a str, body: &'a [u8] },
}

/// What the bytes are not.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum FrameError {
    #[error("neither a frame nor an answer begins with byte {0:#04x}")]
    Unexpected(u8),
    #[error("an answer of more than {ANSWER_MAX} bytes")]
    TooLong,
    #[error("an answer that is not text")]
    NotText,
}

/// The state between two reads.
#[derive(Debug, Default)]
pub(crate) struct Frames {
    /// The beginning of what is cut: a frame with its 4 bytes of head, or an answer.
    carry: Vec<u8>,
    /// Bytes of the frame in `carry` that are still to come and are not kept.
    skip: usize,
}

impl Frames {
    /// Takes everything in `input`.
    ///
    /// # Errors
    /// When the connection is out of step; nothing can be read from it any more.
    pub(crate) fn handle_bytes(&mut self, mut input: &[u8], mut on: impl FnMut(Item<'_>)) -> Result<(), FrameError> {
        while !input.is_empty() {
            if self.carry.is_empty() {
                match input[0] {
                    b'$' => {
                        let whole = input.get(..4).map(|head| (4 + frame_length(head), head[1]));
                        if let Some((end, channel)) = whole.filter(|(end, _)| *end <= input.len()) {
                            on(Item::Frame { channel, data: &input[4..end], length: end - 4 });
                            input = &input[end..];
                            continue;
                        }
                    }
                    b'\r' | b'\n' => {
                        // Some peers send an empty line between messages.
                        input = &input[1..];
                        continue;
                    }
                    byte if !byte.is_ascii_alphabetic() => return Err(FrameError::Unexpected(byte)),
                    _ => {}
                }
            }
            let taken = if self.carry.first().unwrap_or(&input[0]) == &b'$' {
                self.carry_frame(input, &mut on)
            } else {
                self.carry_message(input, &mut on)?
            };
            input = &input[taken..];
        }
        Ok(())
    }

    /// Adds to a frame that is cut; returns how much was taken.
    fn carry_frame(&mut self, input: &[u8], on: &mut impl FnMut(Item<'_>)) -> usize {
        let mut taken = 0;
        if self.carry.len() < 4 {
            taken = input.len().min(4 - self.carry.len());
            self.carry.extend_from_slice(&input[..taken]);
            if self.carry.len() < 4 {
                return taken;
            }
            self.skip = frame_length(&self.carry);
        }
        let rest = &input[taken..];
        let now = rest.len().min(self.skip);
        let kept = now.min((4 + HEAD).saturating_sub(self.carry.len()));
        self.carry.extend_from_slice(&rest[..kept]);
        self.skip -= now;
        if self.skip == 0 {
            let length = frame_length(&self.carry);
            on(Item::Frame { channel: self.carry[1], data: &self.carry[4..], length });
            self.carry.clear();
        }
        taken + now
    }

    fn carry_message(&mut self, input: &[u8], on: &mut impl FnMut(Item<'_>)) -> Result<usize, FrameError> {
        let before = self.carry.len();
        self.carry.extend_from_slice(input);
        let Some(head_end) = find(&self.carry, b"\r\n\r\n").map(|at| at + 4) else {
            return if self.carry.len() > ANSWER_MAX { Err(FrameError::TooLong) } else { Ok(input.len()) };
        };
        let head = str::from_utf8(&self.carry[..head_end]).map_err(|_| FrameError::NotText)?;
        let length = header(head, "content-length").and_then(|value| value.parse::<usize>().ok()).unwrap_or(0);
        if length > ANSWER_MAX {
            return Err(FrameError::TooLong);
        }
        let end = head_end + length;
        if self.carry.len() < end {
            return Ok(input.len());
        }
        on(Item::Message { head, body: &self.carry[head_end..end] });
        self.carry.clear();
        Ok(end - before)
    }
}

/// The value of a header, whatever its case.
pub(super) fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    headers(head, name).next()
}

/// All values of a header that may stand several times.
pub(super) fn headers<'a>(head: &'a str, name: &str) -> impl Iterator<Item = &'a str> {
    head.lines().skip(1).filter_map(move |line| {
        let (key, value) = line.split_once(':')?;
        key.trim().eq_ignore_ascii_case(name).then(|| value.trim())
    })
}

fn frame_length(head: &[u8]) -> usize {
    usize::from(u16::from_be_bytes([head[2], head[3]]))
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|window| window == needle)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Channel and true length of every frame, and the first line of every answer, in order.
    fn read(chunks: &[&[u8]]) -> Result<Vec<String>, FrameError> {
        let mut frames = Frames::default();
        let mut seen = Vec::new();
        for chunk in chunks {
            frames.handle_bytes(chunk, |item| {
                seen.push(match item {
                    Item::Frame { channel, data, length } => format!("${channel} {length} {:x?}", data.first()),
                    Item::Message { head, body } => format!("{} +{}", head.lines().next().unwrap(), body.len()),
                });
            })?;
        }
        Ok(seen)
    }

    fn stream() -> Vec<u8> {
        let mut bytes = vec![b'$', 0, 0, 3, 0xa1, 2, 3];
        bytes.extend_from_slice(b"RTSP/1.0 200 OK\r\nCSeq: 4\r\ncontent-length:  2\r\n\r\nv=");
        bytes.extend_from_slice(&[b'$', 1, 0, 0]);
        bytes.extend_from_slice(&[b'$', 2, 1, 0]);
        bytes.extend_from_slice(&[0xb2; 256]);
        bytes.extend_from_slice(b"\r\nRTSP/1.0 454 Session Not Found\r\n\r\n");
        bytes
    }

    #[test]
    fn every_way_of_cutting_the_stream_gives_the_same_items() {
        let bytes = stream();
        let expected = [
            "$0 3 Some(a1)",
            "RTSP/1.0 200 OK +2",
            "$1 0 None",
            "$2 256 Some(b2)",
            "RTSP/1.0 454 Session Not Found +0",
        ];
        assert_eq!(read(&[&bytes]).unwrap(), expected);
        for size in 1..bytes.len() {
            let chunks: Vec<&[u8]> = bytes.chunks(size).collect();
            assert_eq!(read(&chunks).unwrap(), expected, "in chunks of {size}");
        }
    }

    #[test]
    fn a_cut_frame_keeps_its_head_and_no_more() {
        let mut frames = Frames::default();
        let mut frame = vec![b'$', 0, 0x10, 0];
        frame.resize(4 + 0x1000, 7);
        let mut seen = None;
        for chunk in frame.chunks(1000) {
            frames
                .handle_bytes(chunk, |item| {
                    if let Item::Frame { data, length, .. } = item {
                        seen = Some((data.len(), length));
                    }
                })
                .unwrap();
            assert!(frames.carry.len() <= 4 + HEAD);
        }
        assert_eq!(seen, Some((HEAD, 0x1000)));
    }

    #[test]
    fn a_connection_out_of_step_is_an_error() {
        assert_eq!(read(&[&[0x80, 0x60]]), Err(FrameError::Unexpected(0x80)));
        let endless = vec![b'A'; ANSWER_MAX + 1];
        assert_eq!(read(&[&endless]), Err(FrameError::TooLong));
        assert_eq!(read(&[b"RTSP/1.0 200 OK\r\nContent-Length: 99999999\r\n\r\n"]), Err(FrameError::TooLong));
    }
}
