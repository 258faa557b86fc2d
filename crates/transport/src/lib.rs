//! The backend side: resolve, connect, pools. Knows no client
#![forbid(unsafe_code)]
