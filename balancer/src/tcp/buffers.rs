//! Buffers that are held only while there is something in them: an idle session has none. Kept per thread, so nobody waits for them.

use std::cell::RefCell;

/// A session begins with this.
pub(super) const SMALL: usize = 16 << 10;
/// In between.
pub(super) const MIDDLE: usize = 64 << 10;
/// For bulk.
pub(super) const LARGE: usize = 256 << 10;
/// Bytes a thread keeps of each size.
const KEPT: usize = 4 << 20;

thread_local! {
    static KEEP: RefCell<[Vec<Box<[u8]>>; 3]> = const { RefCell::new([const { Vec::new() }; 3]) };
}

/// One of the three sizes; goes back when dropped.
pub(super) struct Buffer(Box<[u8]>);

impl Buffer {
    /// A buffer of `size`, which is one of the three; what is in it is of no interest.
    pub(super) fn take(size: usize) -> Self {
        let kept = KEEP.with_borrow_mut(|keep| keep[shelf(size)].pop());
        Self(kept.unwrap_or_else(|| vec![0; size].into_boxed_slice()))
    }

    pub(super) fn bytes(&mut self) -> &mut [u8] {
        &mut self.0
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        let bytes = std::mem::take(&mut self.0);
        // The thread may be ending; then the buffer goes with it.
        let _ = KEEP.try_with(|keep| {
            if let Ok(mut keep) = keep.try_borrow_mut() {
                let shelf = &mut keep[shelf(bytes.len())];
                if (shelf.len() + 1) * bytes.len() <= KEPT {
                    shelf.push(bytes);
                }
            }
        });
    }
}

fn shelf(size: usize) -> usize {
    usize::from(size > SMALL) + usize::from(size > MIDDLE)
}
