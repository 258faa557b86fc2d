//! The configuration file of Spooky: YAML to typed values, with every problem located
#![forbid(unsafe_code)]
