//! Every decision of Spooky: routing, balancing, health, admission, attempts, outcomes. No I/O, no clock
#![forbid(unsafe_code)]
