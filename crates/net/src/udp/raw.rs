//! Fixed arrays shared with the kernel, accessed through raw pointers only.

use std::mem::size_of;
use std::ptr::NonNull;

/// A heap array whose elements kernel structures may point to while the array lives.
///
/// It never hands out a reference to its content, so a pointer given to the kernel stays valid between calls.
pub(super) struct RawArray<T: Copy> {
    start: NonNull<T>,
    length: usize,
}

impl<T: Copy> RawArray<T> {
    pub(super) fn new(content: Vec<T>) -> Self {
        let length = content.len();
        let start = Box::into_raw(content.into_boxed_slice()).cast::<T>();
        // SAFETY: a box is never null.
        Self { start: unsafe { NonNull::new_unchecked(start) }, length }
    }

    pub(super) fn as_mut_ptr(&self) -> *mut T {
        self.start.as_ptr()
    }

    /// Returns the address of an element; `None` outside the array.
    pub(super) fn at(&self, index: usize) -> Option<*mut T> {
        // SAFETY: `index` is inside the allocation, so its byte offset fits.
        (index < self.length).then(|| unsafe { self.start.as_ptr().add(index) })
    }

    pub(super) fn read(&self, index: usize) -> Option<T> {
        // SAFETY: in bounds and initialised by `new`; `T: Copy` has no further invariant, and the kernel writes only
        // during a call that borrows the owner mutably.
        self.at(index).map(|element| unsafe { element.read() })
    }

    pub(super) fn write(&mut self, index: usize, value: T) {
        if let Some(element) = self.at(index) {
            // SAFETY: in bounds, aligned, and no reference to the content exists.
            unsafe { element.write(value) }
        }
    }
}

impl<T: Copy> Drop for RawArray<T> {
    fn drop(&mut self) {
        debug_assert!(size_of::<T>() > 0);
        let slice = std::ptr::slice_from_raw_parts_mut(self.start.as_ptr(), self.length);
        // SAFETY: pointer and length are those of the boxed slice of `new`; nothing else frees it.
        drop(unsafe { Box::from_raw(slice) });
    }
}
