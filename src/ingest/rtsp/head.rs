//! The heads of RTSP messages as text: where they end, and what stands in their lines.

/// A head longer than this is none.
pub(super) const HEAD_MAX: usize = 64 * 1024;

/// Where `what` begins.
pub(super) fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}

/// The length of a head, and of the empty line that ends it; some cameras end lines with a line feed alone.
pub(super) fn end(input: &[u8]) -> Option<(usize, usize)> {
    let looked_at = &input[..input.len().min(HEAD_MAX + 4)];
    let proper = find(looked_at, b"\r\n\r\n").map(|at| (at, 4));
    let bare = find(looked_at, b"\n\n").map(|at| (at, 2));
    [proper, bare].into_iter().flatten().min()
}

/// The headers of a head, behind its first line.
pub(super) fn headers(head: &str) -> impl Iterator<Item = (&str, &str)> {
    head.lines()
        .skip(1)
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.trim(), value.trim()))
        .filter(|(name, _)| {
            !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
        })
}

/// The value of a header in lines of them, with or without a first line before them.
pub(super) fn header<'a>(lines: &'a str, name: &str) -> Option<&'a str> {
    lines
        .lines()
        .filter_map(|line| line.split_once(':'))
        .find(|(n, _)| n.trim().eq_ignore_ascii_case(name))
        .map(|(_, value)| value.trim())
}

/// The words behind the status.
pub(super) fn reason(head: &str) -> String {
    let line = head.lines().next().unwrap_or_default();
    line.splitn(3, ' ')
        .nth(2)
        .unwrap_or_default()
        .chars()
        .filter(|c| c.is_ascii_graphic() || *c == ' ')
        .take(80)
        .collect()
}
