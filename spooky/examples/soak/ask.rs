//! A request whose response is known in advance.

use bytes::Bytes;
use spooky_testkit::{pattern::Pattern, rng::Rng};

/// What a client asks for.
pub(crate) struct Ask {
    pub(crate) path: String,
    /// The body of a POST; `None` is a GET.
    pub(crate) body: Option<Bytes>,
    /// The body that must come back.
    pub(crate) expected: Bytes,
}

impl Ask {
    /// Draws a request: six of ten are small, two are downloads, two are uploads that come back.
    pub(crate) fn draw(rng: &mut Rng) -> Self {
        let upstream = if rng.below(2) == 0 { "/h2" } else { "/h1" };
        match rng.below(10) {
            0..6 => Self::get(upstream, 200),
            6 | 7 => Self::get(upstream, 1_000 + rng.below(60_000)),
            _ => {
                let body = Pattern::bytes(rng.next_u64(), 1 + rng.below(30_000));
                Self { path: format!("{upstream}/echo"), body: Some(body.clone()), expected: body }
            }
        }
    }

    fn get(upstream: &str, length: u64) -> Self {
        Self { path: format!("{upstream}/bytes/{length}"), body: None, expected: Pattern::bytes(length, length) }
    }
}
