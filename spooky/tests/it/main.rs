//! The integration tests: the real program, driven from outside by peers that share no code with it.

mod cli;
mod demo;
