//! The arrays behind one `sendmmsg`, and the call itself. Filled and used by `SendBatch`.

use std::io;
use std::mem::zeroed;
use std::os::fd::{AsRawFd, BorrowedFd};

use libc::{iovec, mmsghdr};

use super::address::Name;
use super::control::{Control, SEND_SPACE};

/// Messages that one system call sends at most.
pub(super) const CALL_MESSAGES: usize = 32;

struct Message {
    name: Name,
    name_length: usize,
    control: Control<SEND_SPACE>,
    control_length: usize,
}

/// Messages collected for one call. Their contents stay with the caller, who passes them again at the call.
pub(super) struct Messages {
    described: Vec<Message>,
    vectors: Vec<iovec>,
    headers: Vec<mmsghdr>,
}

// SAFETY: the raw pointers in `vectors` and `headers` are written and used within one call of `send` and never read
// outside it.
unsafe impl Send for Messages {}

impl Messages {
    pub(super) fn new() -> Self {
        let (described, vectors) = (Vec::with_capacity(CALL_MESSAGES), Vec::with_capacity(CALL_MESSAGES));
        Self { described, vectors, headers: Vec::with_capacity(CALL_MESSAGES) }
    }

    pub(super) fn clear(&mut self) {
        self.described.clear();
    }

    pub(super) fn push(
        &mut self,
        (name, name_length): (Name, usize),
        (control, control_length): (Control<SEND_SPACE>, usize),
    ) {
        self.described.push(Message { name, name_length, control, control_length });
    }

    /// Sends the first messages with `contents`, one content per message; returns how many went out.
    ///
    /// Errors: that of the first message. An error of a later one ends the call early and shows when it is sent again.
    pub(super) fn send<'a>(
        &mut self,
        fd: BorrowedFd<'_>,
        contents: impl Iterator<Item = &'a [u8]>,
    ) -> io::Result<usize> {
        self.vectors.clear();
        self.headers.clear();
        let vectors = contents.take(self.described.len());
        self.vectors
            .extend(vectors.map(|bytes| iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() }));
        for (message, vector) in self.described.iter_mut().zip(self.vectors.iter_mut()) {
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
        // SAFETY: `headers` holds `len` initialised entries. Their pointers lead into `described` and `vectors`, which
        // are not touched again before the call, and into `contents`, which the kernel only reads and which live for
        // `'a`, so longer than the call. Every length is that of what is pointed at. (Miri does not know `sendmmsg`.)
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
