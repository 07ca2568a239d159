//! The front of the compiler, seen from outside: the guide's programs, mistakes and their messages, laws.
#![allow(clippy::panic)]

mod errors;
mod guide;
mod laws;
mod render;
mod show;
mod tree;
