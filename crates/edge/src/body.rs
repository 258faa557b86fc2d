//! The framing of response bodies.

/// How the body of a response is framed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Body {
    /// There is none.
    None,
    /// Exactly this many bytes. HTTP/3 sends them in one DATA frame, whose header is sent with the head.
    Known(u64),
    /// Unknown: each piece is framed by itself.
    Chunked,
}

/// Maximum payload length of an HTTP/3 frame (RFC 9000 section 16).
const MAX_FRAME: u64 = (1 << 62) - 1;

impl Body {
    /// Selects the framing by `content-length`. A length that does not fit into one frame is sent in several.
    pub fn of(content_length: Option<u64>) -> Self {
        match content_length {
            Some(length @ ..=MAX_FRAME) => Self::Known(length),
            Some(_) | None => Self::Chunked,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_length_beyond_what_a_frame_can_say_is_not_said() {
        for (length, body) in [
            (None, Body::Chunked),
            (Some(0), Body::Known(0)),
            (Some(MAX_FRAME), Body::Known(MAX_FRAME)),
            (Some(MAX_FRAME + 1), Body::Chunked),
            (Some(1 << 62), Body::Chunked),
            (Some(u64::MAX), Body::Chunked),
        ] {
            assert_eq!(Body::of(length), body);
        }
    }
}
