//! The arrays of one `sendmmsg` call, and the call itself. Used by `SendBatch`.

use std::io;
use std::mem::zeroed;
use std::os::fd::{AsRawFd, BorrowedFd};

use libc::{iovec, mmsghdr};

use super::address::SockAddr;
use super::control::{Control, SEND_SPACE};

/// Maximum number of messages per system call.
pub(super) const CALL_MESSAGES: usize = 32;

struct Message {
    name: SockAddr,
    name_length: usize,
    control: Control<SEND_SPACE>,
    control_length: usize,
}

/// Messages prepared for one call. The caller keeps their contents and passes them to [`Messages::send`].
pub(super) struct Messages {
    prepared: Vec<Message>,
    vectors: Vec<iovec>,
    headers: Vec<mmsghdr>,
}

// SAFETY: the raw pointers in `vectors` and `headers` are written and used within one call of `send` and never read
// outside it.
unsafe impl Send for Messages {}

impl Messages {
    pub(super) fn new() -> Self {
        let (prepared, vectors) = (Vec::with_capacity(CALL_MESSAGES), Vec::with_capacity(CALL_MESSAGES));
        Self { prepared, vectors, headers: Vec::with_capacity(CALL_MESSAGES) }
    }

    pub(super) fn clear(&mut self) {
        self.prepared.clear();
    }

    pub(super) fn push(
        &mut self,
        (name, name_length): (SockAddr, usize),
        (control, control_length): (Control<SEND_SPACE>, usize),
    ) {
        self.prepared.push(Message { name, name_length, control, control_length });
    }

    /// Sends the first messages with `contents`, one content per message, and returns the number sent.
    ///
    /// Errors: that of the first message. An error of a later message ends the call early and is returned when it is
    /// sent again.
    pub(super) fn send<'a>(
        &mut self,
        fd: BorrowedFd<'_>,
        contents: impl Iterator<Item = &'a [u8]>,
    ) -> io::Result<usize> {
        self.vectors.clear();
        self.headers.clear();
        let vectors = contents.take(self.prepared.len());
        self.vectors
            .extend(vectors.map(|bytes| iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() }));
        for (message, vector) in self.prepared.iter_mut().zip(self.vectors.iter_mut()) {
            // SAFETY: all-zero is a valid `mmsghdr`: null pointers and zero lengths.
            let mut header: mmsghdr = unsafe { zeroed() };
            header.msg_hdr.msg_name = (&raw mut message.name).cast();
            header.msg_hdr.msg_namelen = message.name_length as _;
            header.msg_hdr.msg_iov = &raw mut *vector;
            header.msg_hdr.msg_iovlen = 1;
            if message.control_length > 0 {
                header.msg_hdr.msg_control = (&raw mut message.control).cast();
                header.msg_hdr.msg_controllen = message.control_length as _;
            }
            self.headers.push(header);
        }
        // SAFETY: `headers` has `len` initialised entries. Their pointers lead into `prepared` and `vectors`, which do
        // not change before the call, and into `contents`, which the kernel only reads and which live for `'a`, longer
        // than the call. Every length is that of its target. (Miri does not support `sendmmsg`.)
        let count = unsafe {
            libc::sendmmsg(
                fd.as_raw_fd(),
                self.headers.as_mut_ptr(),
                self.headers.len() as _,
                (libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL) as _,
            )
        };
        usize::try_from(count).map_err(|_| io::Error::last_os_error())
    }
}
