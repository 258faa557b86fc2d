//! Test peers: certificates, clients, misbehaving origins, a lossy link. Never part of the product
#![forbid(unsafe_code)]
