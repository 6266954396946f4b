//! Who may speak to a master.

/// Whether two secrets are the same; the time it takes tells nothing about where they differ.
pub(crate) fn same(a: &[u8], b: &[u8]) -> bool {
    let differing = a.iter().zip(b).fold(0, |bits, (x, y)| bits | (x ^ y));
    a.len() == b.len() && differing == 0
}
